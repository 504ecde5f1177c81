import subprocess
import sys
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

from jaxcv.data import load
from jaxcv.data.splits import stratified_sample


def test_every_digit_is_there_enlarged_and_rounded():
    ours = load("digits")
    theirs: Any = load_digits()
    assert ours.images.shape == (1797, 32, 32, 3)
    assert ours.images.dtype == np.uint8
    assert ours.classes == tuple("0123456789")
    # Independently of how it was enlarged: block means, in floating point.
    small = ours.images.reshape(-1, 8, 4, 8, 4, 3).astype(float)
    assert small.var(axis=(2, 4, 5)).max() == 0
    found = np.c_[small[:, :, 0, :, 0, 0].reshape(-1, 64), ours.labels]
    expected = np.c_[np.floor(theirs.images * 255 / 16 + 0.5).reshape(-1, 64), theirs.target]
    assert sorted(map(tuple, found)) == sorted(map(tuple, expected))
    assert set(np.unique(ours.images)) >= {0, 128, 255}


def test_the_test_images_are_360_stratified_and_always_the_same():
    first, second = load("digits", data_seed=0), load("digits", data_seed=1, validation=0)
    assert len(first.test) == 360
    assert first.test.tolist() == second.test.tolist()
    assert np.array_equal(first.images, second.images)
    counts = np.bincount(first.labels)
    assert np.all(abs(np.bincount(first.labels[first.test]) - 360 * counts / 1797) < 1)


def test_a_tenth_of_the_others_is_held_out_by_the_data_seed():
    first, second = load("digits", data_seed=0), load("digits", data_seed=1)
    assert len(first.validation) == len(second.validation) == 143
    assert len(first.train) == 1797 - 360 - 143
    assert first.validation.tolist() != second.validation.tolist()
    drawn = stratified_sample(first.labels[:1437], 143, np.random.default_rng(0))
    assert first.validation.tolist() == drawn.tolist()


def test_a_cached_load_imports_no_scikit_learn():
    load("digits")
    program = (
        "import sys; from jaxcv.data import load; load('digits');"
        "print([name for name in ('sklearn', 'jax', 'tensorflow_datasets', 'pooch', 'PIL')"
        " if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
