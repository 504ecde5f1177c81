import math

import numpy as np
import pytest

from jaxcv.reference import dropout, dropout_backward


def test_by_hand():
    y = dropout([1.0, 2.0, 3.0, 4.0], [True, False, True, False], 0.75)
    np.testing.assert_array_equal(y, [4.0, 0.0, 12.0, 0.0])


def test_gradient_equals_central_differences(assert_gradients):
    rng = np.random.default_rng(0)
    x, dy, mask = rng.normal(size=(3, 4)), rng.normal(size=(3, 4)), rng.random((3, 4)) < 0.7
    assert_gradients(lambda x: dropout(x, mask, 0.3), (x,), (dropout_backward(dy, mask, 0.3),), dy)


def test_ends_of_the_range():
    x = np.array([1.0, -2.0])
    np.testing.assert_array_equal(dropout(x, [1, 1], 0), x)
    np.testing.assert_array_equal(dropout(x, [0, 0], 1), [0.0, 0.0])
    np.testing.assert_array_equal(dropout_backward(x, [0, 0], 1), [0.0, 0.0])


def test_what_is_dropped_may_be_infinite():
    np.testing.assert_array_equal(dropout([np.inf, 1.0], [0, 1], 0.5), [0.0, 2.0])


def test_keeps_the_mean():
    x = np.ones(100_000)
    mask = np.random.default_rng(0).random(x.size) >= 0.2
    # Standard deviation of the mean: sqrt(0.2 / 0.8 / n), 1.6e-3; five of them.
    assert dropout(x, mask, 0.2).mean() == pytest.approx(1.0, abs=8e-3)


@pytest.mark.parametrize(
    ("x", "mask", "rate", "message"),
    [
        ([1.0, 2.0], [1], 0.5, r"mask must have shape \(2,\)"),
        ([], [], 0.5, "must not be empty"),
        ([1.0], [0.5], 0.5, "mask must be true and false"),
        ([1.0], [1], -0.1, r"rate must lie in \[0, 1\], got -0.1"),
        ([1.0], [1], 1.1, "rate must lie"),
        ([1.0], [1], math.nan, "rate must lie"),
    ],
)
def test_refuses(x, mask, rate, message):
    for function in (dropout, dropout_backward):
        with pytest.raises(ValueError, match=message):
            function(x, mask, rate)
