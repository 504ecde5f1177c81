"""Small patches of pictures, without labels: what autoencoders learn from."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Real, UInt8

from jaxcv.data.cache import Source, recall
from jaxcv.data.dataset import Records
from jaxcv.data.hdf5 import read_images
from jaxcv.data.patch_preprocessing import preprocess
from jaxcv.errors import UserError

COUNT, SIZE = 10_240, 16

# Colour photographs that ship inside the packages; motorcycle_right is nearly motorcycle_left.
_PHOTOGRAPHS = {
    "skimage": (
        "data/astronaut.png",
        "data/chelsea.png",
        "data/coffee.png",
        "data/motorcycle_left.png",
        "data/rocket.jpg",
    ),
    "sklearn": ("datasets/images/china.jpg", "datasets/images/flower.jpg"),
}

Pictures = Sequence[UInt8[np.ndarray, "_height _width channels"]]


def source(
    data_seed: int, data_file: str | None, data_key: str | None, pictures: Source | None = None
) -> Source:
    """Say where the patches come from.

    Args:
        data_seed: Decides which patches are drawn.
        data_file: An HDF5 file whose images are the patches; None to draw them from pictures.
        data_key: The data set in it.
        pictures: A source whose training images are drawn from; None for the photographs.
    """

    def read() -> Records:
        images = preprocess(raw(data_seed, data_file, data_key, pictures))
        labels = np.zeros(len(images), np.int32)
        return Records(images=images, labels=labels, pool=len(images), classes=())

    # Drawing is as quick as reading what was drawn.
    return Source(name="patches", read=read, kept=False)


def raw(
    data_seed: int,
    data_file: str | None = None,
    data_key: str | None = None,
    pictures: Source | None = None,
) -> Real[np.ndarray, "n height width channels"]:
    """Give the patches of `source` as they were before preprocessing, in the same order."""
    if data_file is not None:
        return read_images(Path(data_file), data_key)
    return draw(_pictures(pictures), data_seed)


def draw(
    pictures: Pictures, seed: int, count: int = COUNT, size: int = SIZE
) -> UInt8[np.ndarray, "{count} {size} {size} channels"]:
    """Cut random patches: a picture at random, then a place in it, each as likely as any other.

    Args:
        pictures: All with the same number of channels, each at least `size` on both sides.
        seed: Decides which patches.
        count: How many.
        size: Pixels on a side.
    """
    for picture in pictures:
        if min(picture.shape[:2]) < size:
            raise UserError(
                f"patches are {size} pixels on a side; a picture of "
                f"{picture.shape[0]}×{picture.shape[1]} is too small"
            )
    rng = np.random.default_rng(seed)
    patches = np.empty((count, size, size, pictures[0].shape[-1]), np.uint8)
    for i, which in enumerate(rng.integers(len(pictures), size=count)):
        height, width = pictures[which].shape[:2]
        top, left = rng.integers(height - size + 1), rng.integers(width - size + 1)
        patches[i] = pictures[which][top : top + size, left : left + size]
    return patches


def photographs() -> list[UInt8[np.ndarray, "_height _width 3"]]:
    """Read the colour photographs that scikit-image and scikit-learn carry with them.

    Raises:
        UserError: scikit-image is not installed.
    """
    from PIL import Image

    pictures = []
    for package, names in _PHOTOGRAPHS.items():
        # Found without being imported: the files are all that is wanted.
        found = importlib.util.find_spec(package)
        if found is None or not found.submodule_search_locations:
            raise UserError(
                "the photographs for --data patches are in scikit-image, which is not installed: "
                "pip install 'jaxcv[autoencoder]'"
            )
        for name in names:
            with Image.open(Path(found.submodule_search_locations[0]) / name) as image:
                pictures.append(np.asarray(image.convert("RGB")))
    return pictures


def _pictures(of: Source | None) -> Pictures:
    if of is None:
        return photographs()
    records = recall(of)
    return list(records.images[: records.pool])
