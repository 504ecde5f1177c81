import dataclasses

import numpy as np
import pytest

from jaxcv.data.dataset import Dataset, Records, check_arrays
from jaxcv.errors import UserError

IMAGES = np.zeros((4, 5, 6, 3), np.uint8)
LABELS = np.array([0, 1, 2, 0], np.int32)


def indices(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


DATASET = Dataset(
    "toy", IMAGES, LABELS, indices(0, 2), indices(1), indices(3), ("cat", "dog", "owl")
)


def test_properties():
    assert DATASET.image_shape == (5, 6, 3)
    assert DATASET.num_classes == 3
    assert DATASET.check() is DATASET


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES, np.array([0, 1, 3, 0], np.int32), "label 3 of image 2 is out of range.* 0 to 2"),
        (IMAGES, np.array([0, 1, -1, 0], np.int32), "label -1 of image 2 is out of range"),
        (IMAGES.astype(np.float32), LABELS, "images must be uint8 .* float32"),
        (IMAGES, LABELS.astype(np.int64), "labels int32, .* int64"),
        (np.array([IMAGES[0], IMAGES[0, :2], None], object), LABELS, "mixed sizes"),
        (IMAGES[..., 0], LABELS, "shape"),
        (IMAGES[:, :0], LABELS, "none of them 0"),
        (IMAGES, LABELS[:3], "every image needs one label"),
    ],
)
def test_what_is_no_images_and_labels_is_refused(images, labels, message):
    with pytest.raises(UserError, match=f"^toy: .*{message}"):
        check_arrays("toy", images, labels, 3)


def test_an_image_in_two_splits_is_refused():
    with pytest.raises(UserError, match="exactly one of train, validation and test"):
        dataclasses.replace(DATASET, validation=indices(3)).check()


@pytest.mark.parametrize("pool", [0, 4])
def test_training_and_test_images_are_needed(pool):
    with pytest.raises(UserError, match="at least one of each"):
        Records(IMAGES, LABELS, pool, DATASET.classes).check("toy")
