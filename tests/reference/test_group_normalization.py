import numpy as np
import pytest

from jaxcv.reference import (
    batch_norm,
    group_norm,
    group_norm_backward,
    layer_norm,
    layer_norm_backward,
)

CHANNELS_LAST = (0, 2, 3, 1)


def draw(*shape):
    rng = np.random.default_rng(0)
    x, dy = 2 * rng.normal(size=shape) + 3, rng.normal(size=shape)
    return x, rng.normal(size=shape[-1]), rng.normal(size=shape[-1]), dy


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_group_norm_by_hand(groups):
    x, scale, bias, _ = draw(2, 3, 4, 6)
    y = group_norm(x, scale, bias, groups, 1e-2)
    width = 6 // groups
    for n in range(2):
        for g in range(groups):
            part = slice(g * width, (g + 1) * width)
            values = x[n, :, :, part]
            expected = (values - values.mean()) / np.sqrt(values.var() + 1e-2)
            np.testing.assert_allclose(
                y[n, :, :, part], scale[part] * expected + bias[part], rtol=1e-12
            )


@pytest.mark.parametrize("shape", [(3, 6), (2, 5, 6), (2, 3, 2, 6)])
@pytest.mark.parametrize("groups", [1, 2])
def test_group_norm_gradients_equal_central_differences(shape, groups, assert_gradients):
    x, scale, bias, dy = draw(*shape)
    assert_gradients(
        lambda x, scale, bias: group_norm(x, scale, bias, groups, 1e-2),
        (x, scale, bias),
        group_norm_backward(dy, x, scale, groups, 1e-2),
        dy,
    )


@pytest.mark.parametrize("shape", [(6,), (3, 6), (2, 3, 2, 6)])
def test_layer_norm_gradients_equal_central_differences(shape, assert_gradients):
    x, scale, bias, dy = draw(*shape)
    assert_gradients(
        lambda x, scale, bias: layer_norm(x, scale, bias, 1e-2),
        (x, scale, bias),
        layer_norm_backward(dy, x, scale, 1e-2),
        dy,
    )


def test_layer_norm_by_hand():
    x, scale, bias, _ = draw(2, 3, 4)
    y = layer_norm(x, scale, bias, 1e-2)
    for n, i in np.ndindex(2, 3):
        expected = (x[n, i] - x[n, i].mean()) / np.sqrt(x[n, i].var() + 1e-2)
        np.testing.assert_allclose(y[n, i], scale * expected + bias, rtol=1e-12)


def test_how_the_norms_meet():
    x, scale, bias, _ = draw(5, 6)
    np.testing.assert_allclose(group_norm(x, scale, bias, 1), layer_norm(x, scale, bias))
    np.testing.assert_allclose(
        layer_norm(x.T, None, None, 1e-3), batch_norm(x, None, None)[0].T, rtol=1e-12
    )


def test_defaults():
    x, scale, bias, dy = draw(2, 3, 6)
    np.testing.assert_array_equal(
        group_norm(x, scale, bias, 2), group_norm(x, scale, bias, 2, 1e-5)
    )
    np.testing.assert_array_equal(layer_norm(x, scale, bias), layer_norm(x, scale, bias, 1e-5))
    np.testing.assert_array_equal(
        group_norm(x, None, None, 2), group_norm(x, np.ones(6), np.zeros(6), 2)
    )
    np.testing.assert_array_equal(layer_norm(x, None, None), layer_norm(x, [1] * 6, [0] * 6))
    for got, expected in [
        (group_norm_backward(dy, x, None, 2), group_norm_backward(dy, x, [1] * 6, 2, 1e-5)),
        (layer_norm_backward(dy, x, None), layer_norm_backward(dy, x, [1] * 6, 1e-5)),
    ]:
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_course_statistics():
    x = 4 * np.random.RandomState(231).randn(2, 6, 4, 5) + 10
    grouped = x.reshape(4, -1)
    np.testing.assert_allclose(
        grouped.mean(1), [9.72505327, 8.51114185, 8.9147544, 9.43448077], rtol=0, atol=5.01e-9
    )
    np.testing.assert_allclose(
        grouped.std(1), [3.67070958, 3.09892597, 4.27043622, 3.97521327], rtol=0, atol=5.01e-9
    )
    y = group_norm(x.transpose(CHANNELS_LAST), np.ones(6), np.zeros(6), 2)
    grouped = y.transpose(0, 3, 1, 2).reshape(4, -1)
    np.testing.assert_allclose(grouped.mean(1), 0.0, atol=2e-15)
    np.testing.assert_allclose(
        grouped.std(1), [0.99999963, 0.99999948, 0.99999973, 0.99999968], rtol=0, atol=5.01e-9
    )


def test_course_gradients(assert_gradients):
    draws = np.random.RandomState(231)
    x = (5 * draws.randn(2, 6, 4, 5) + 12).transpose(CHANNELS_LAST)
    scale, bias = draws.randn(1, 6, 1, 1).ravel(), draws.randn(1, 6, 1, 1).ravel()
    dy = draws.randn(2, 6, 4, 5).transpose(CHANNELS_LAST)
    assert_gradients(
        lambda x, scale, bias: group_norm(x, scale, bias, 2),
        (x, scale, bias),
        group_norm_backward(dy, x, scale, 2),
        dy,
    )


def test_constant_input_and_large_offset():
    np.testing.assert_array_equal(group_norm(np.full((2, 3, 4), 9.0), None, [1] * 4, 2), 1.0)
    np.testing.assert_array_equal(layer_norm(np.full((2, 4), 9.0), None, [1] * 4), 1.0)
    x = np.round(draw(2, 3, 6)[0], 3)
    np.testing.assert_allclose(
        group_norm(x + 1e6, None, None, 2), group_norm(x, None, None, 2), rtol=0, atol=1e-8
    )


X, C = np.ones((2, 4)), np.ones(4)


@pytest.mark.parametrize("groups", [0, -2, 3, 8])
def test_refuses_groups_that_do_not_divide(groups):
    with pytest.raises(ValueError, match=f"groups must divide the 4 channels, got {groups}"):
        group_norm(X, C, C, groups)


def test_refuses():
    with pytest.raises(ValueError, match="x must have axes"):
        group_norm(C, C, C, 2)
    with pytest.raises(ValueError, match="x must have axes"):
        layer_norm(1.0, C, C)
    with pytest.raises(ValueError, match="x must not be empty"):
        layer_norm(X[:0], C, C)
    for wrong in (C[:1], np.ones((1, 4))):
        with pytest.raises(ValueError, match="scale must have"):
            group_norm(X, wrong, C, 2)
        with pytest.raises(ValueError, match="bias must have"):
            layer_norm(X, C, wrong)
    with pytest.raises(ValueError, match="epsilon must be positive"):
        layer_norm(X, C, C, -1e-5)
    with pytest.raises(ValueError, match="dy must have shape"):
        group_norm_backward(X.T, X, C, 2)
    with pytest.raises(ValueError, match="dy must have shape"):
        layer_norm_backward(X.T, X, C)
