"""scikit-learn's handwritten digits: 1,797 real images that need no download."""

import importlib.metadata
from typing import Any

import numpy as np

from jaxcv.data.cache import Source
from jaxcv.data.dataset import Records
from jaxcv.data.splits import stratified_sample

_TEST_IMAGES = 360
# Part of the data set's definition, as a published test split is: no flag changes it.
_TEST_SEED = 0
_ENLARGEMENT = 4
_GREYS = 16


def source() -> Source:
    """Say how to read the digits (their images are part of scikit-learn's package)."""
    # The version from the package's metadata: with a warm cache scikit-learn is not imported.
    return Source(name="digits", read=read, version=importlib.metadata.version("scikit-learn"))


def read() -> Records:
    """Read the digits as 32×32 RGB images, the shape of CIFAR-10's.

    Grey value v of 0 … 16 becomes v · 255 / 16, rounded to the nearest whole number (8, the only
    one in the middle, becomes 128), the same in all three channels; every pixel becomes a block of
    4×4. 360 images, stratified and always the same, are the test images.

    Returns:
        1,437 images of the training pool, then 360 test images.
    """
    from sklearn.datasets import load_digits

    digits: Any = load_digits()
    grey = (digits.images.astype(np.int32) * 255 + _GREYS // 2) // _GREYS
    large = grey.repeat(_ENLARGEMENT, axis=1).repeat(_ENLARGEMENT, axis=2)
    images = np.repeat(large[..., np.newaxis], 3, axis=-1).astype(np.uint8)
    labels = digits.target.astype(np.int32)

    test = stratified_sample(labels, _TEST_IMAGES, np.random.default_rng(_TEST_SEED))
    pool = np.setdiff1d(np.arange(len(labels)), test, assume_unique=True)
    order = np.concatenate([pool, test])
    return Records(
        images=images[order],
        labels=labels[order],
        pool=len(pool),
        classes=tuple(str(name) for name in digits.target_names),
    )
