"""The two values of this package: images as a source holds them, and images ready to train on."""

import dataclasses
import functools
import hashlib

import numpy as np
from jaxtyping import Float32, Int32, UInt8

from jaxcv.errors import UserError


@dataclasses.dataclass(frozen=True, eq=False)
class Records:
    """What a source holds, decoded, before anything is held out for validation.

    Attributes:
        images: uint8, shape (n, height, width, channels); the training pool first, then the test
            images. Without classes float32 too, and all of them are the pool.
        labels: int32, shape (n,), class indices.
        pool: How many of the images are the training pool.
        classes: The class names; their number is the number of classes. None for no labels.
    """

    images: np.ndarray
    labels: np.ndarray
    pool: int
    classes: tuple[str, ...]

    def check(self, name: str) -> "Records":
        """Return these records if a network can be trained and tested on them.

        Args:
            name: What the messages call the data.

        Raises:
            UserError: The arrays do not belong together, hold no training or no test image, have
                another dtype than stated above, or a label is not a class.
        """
        check_arrays(name, self.images, self.labels, len(self.classes))
        if not self.classes and self.pool == len(self.images):
            return self
        if not 0 < self.pool < len(self.images):
            raise UserError(
                f"{name}: {self.pool} training and {len(self.images) - self.pool} test images; "
                "at least one of each is needed"
            )
        return self


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Images on the host, and which of them are for training, validation and testing.

    Bytes are pixels as stored, and how they are normalised is the experiment's choice; float32 are
    what the network sees. Images without classes are all of class 0, and may be tested on where
    they were trained on: there is no answer to learn by heart.

    Attributes:
        name: The data set as the user names it, such as "digits" or "tfds:mnist".
        images: All images, the training pool first, then the test images.
        labels: The class index of each image.
        train: Indices of the training images, ascending.
        validation: Indices of the images held out of training, ascending; may be empty.
        test: Indices of the test images, ascending.
        classes: The class names; a label is an index into them. None where nothing is labelled.
    """

    name: str
    images: (
        UInt8[np.ndarray, " n height width channels"]
        | Float32[np.ndarray, " n height width channels"]
    )
    labels: Int32[np.ndarray, " n"]
    train: Int32[np.ndarray, " n_train"]
    validation: Int32[np.ndarray, " n_validation"]
    test: Int32[np.ndarray, " n_test"]
    classes: tuple[str, ...]

    @functools.cached_property
    def digest(self) -> str:
        """Names the images, the labels and what each is for: other data have another."""
        found = hashlib.sha256()
        for array in (self.images, self.labels, self.train, self.validation, self.test):
            found.update(f"{array.dtype}{array.shape}".encode())
            found.update(np.ascontiguousarray(array).data)
        return found.hexdigest()[:32]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of every image."""
        height, width, channels = self.images.shape[1:]
        return height, width, channels

    @property
    def num_classes(self) -> int:
        """How many classes there are; 0 where nothing is labelled."""
        return len(self.classes)

    def check(self) -> "Dataset":
        """Return this data set if it holds together.

        Raises:
            UserError: A label is not a class, an array has the wrong dtype or shape, or the three
                splits are not a partition of the images (without classes: the first two).
        """
        check_arrays(self.name, self.images, self.labels, self.num_classes)
        splits = [self.train, self.validation] + [self.test] * bool(self.classes)
        indices = np.concatenate(splits)
        if not np.array_equal(np.sort(indices), np.arange(len(self.images))):
            raise UserError(
                f"{self.name}: every image must be in exactly one of train, validation and test"
            )
        return self


def check_arrays(name: str, images: np.ndarray, labels: np.ndarray, num_classes: int) -> None:
    """Raise UserError unless these are images and labels in the one form the rest relies on.

    Args:
        name: What the messages call the data.
        images: Must be uint8, or finite float32 if there are no classes; (n, height, width,
            channels), with no axis empty.
        labels: Must be int32, (n,), each in 0 … num_classes - 1.
        num_classes: How many classes there are; 0 for images without labels.
    """
    if images.dtype == object:
        raise UserError(f"{name}: the images have mixed sizes; all must have one size")
    unlabelled = num_classes == 0
    allowed = (np.uint8, np.float32) if unlabelled else (np.uint8,)
    if images.dtype not in allowed or labels.dtype != np.int32:
        raise UserError(
            f"{name}: images must be uint8 (without classes float32) and labels int32, "
            f"these are {images.dtype} and {labels.dtype}"
        )
    if images.ndim != 4 or 0 in images.shape:
        raise UserError(
            f"{name}: images must have the shape (n, height, width, channels), none of them 0; "
            f"these have {images.shape}"
        )
    if labels.shape != images.shape[:1]:
        raise UserError(
            f"{name}: every image needs one label; "
            f"there are {len(images)} images and labels of shape {labels.shape}"
        )
    if unlabelled and not np.isfinite(images).all():
        raise UserError(f"{name}: the images hold infinite numbers or NaN")
    wrong = np.flatnonzero((labels < 0) | (labels >= max(num_classes, 1)))
    if wrong.size:
        raise UserError(
            f"{name}: label {labels[wrong[0]]} of image {wrong[0]} is out of range; "
            f"the {num_classes} classes are 0 to {num_classes - 1}"
        )
