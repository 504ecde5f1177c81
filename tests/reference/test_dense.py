import numpy as np
import pytest

from jaxcv.reference import dense, dense_backward


def test_by_hand():
    y = dense([[1, 2], [3, 4]], [[1, 0, 2], [0, 1, 1]], [10, 20, 30])
    np.testing.assert_array_equal(y, [[11, 22, 34], [13, 24, 40]])
    np.testing.assert_array_equal(dense([[1, 2]], [[1], [10]]), [[21]])
    assert y.dtype == np.float64


def test_gradients_equal_central_differences(assert_gradients):
    rng = np.random.default_rng(0)
    x, w, b = rng.normal(size=(4, 3)), rng.normal(size=(3, 5)), rng.normal(size=5)
    dy = rng.normal(size=(4, 5))
    assert_gradients(dense, (x, w, b), dense_backward(dy, x, w), dy)


X, W = np.ones((2, 3)), np.ones((3, 4))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X[0], W), r"x must have axes \(batch, features_in\), got shape \(3,\)"),
        ((X[:0], W), r"x must not be empty, got shape \(0, 3\)"),
        ((X, W[0]), r"kernel must have axes"),
        ((X, W.T), "x has 3 features, kernel takes 4"),
        ((X, W, np.ones(3)), r"bias must have shape \(4,\), got \(3,\)"),
        ((X, W, 1.0), "bias must have axes"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        dense(*arguments)


@pytest.mark.parametrize("shape", [(2, 3), (1, 4)])
def test_backward_refuses_another_shape_than_the_outputs(shape):
    with pytest.raises(ValueError, match=r"dy must have shape \(2, 4\)"):
        dense_backward(np.ones(shape), X, W)
