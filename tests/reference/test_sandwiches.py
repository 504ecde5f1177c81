import numpy as np

from jaxcv.reference import (
    conv2d,
    conv_relu,
    conv_relu_backward,
    conv_relu_pool,
    conv_relu_pool_backward,
    max_pool2d,
)

# A step of 1e-5 moves a pre-activation by at most 1e-5 * max(|x|, |kernel|) < 5e-5.
MARGIN = 1e-4


def assert_clear_of_kinks(conv, pool_window=None):
    assert np.abs(conv).min() > MARGIN
    if pool_window:
        n, h, w, c = conv.shape
        blocks = conv.reshape(n, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 5, 2, 4)
        second, first = np.sort(blocks.reshape(-1, 4))[:, -2:].T
        assert ((first - second > MARGIN) | (first < 0)).all()


def course(size, out):
    draws = np.random.RandomState(231)
    x, w, b = draws.randn(2, 3, size, size), draws.randn(3, 3, 3, 3), draws.randn(3)
    dy = draws.randn(2, 3, out, out)
    return (
        x.transpose(0, 2, 3, 1),
        w.transpose(2, 3, 1, 0),
        b,
        dy.transpose(0, 2, 3, 1),
    )


def test_conv_relu_gradients_on_the_course_draws(assert_gradients):
    x, w, b, dy = course(8, 8)
    x, dy = x[1:], dy[1:]
    assert_clear_of_kinks(conv2d(x, w, b, 1, 1))
    assert_gradients(
        lambda x, w, b: conv_relu(x, w, b, 1, 1),
        (x, w, b),
        conv_relu_backward(dy, x, w, b, 1, 1),
        dy,
    )


def test_conv_relu_pool_gradients_on_the_course_draws(assert_gradients):
    x, w, b, dy = course(16, 8)
    assert_clear_of_kinks(conv2d(x, w, b, 1, 1), 2)
    # One corner and a part of the inside: central differences of all 1,536 pixels take long.
    parts = [np.s_[:1, :3, :3], np.s_[1:, 5:9, 6:9]]
    dx, dw, db = conv_relu_pool_backward(dy, x, w, b, 1, 1)
    assert_gradients(
        lambda w, b: conv_relu_pool(x, w, b, 1, 1),
        (w, b),
        (dw, db),
        dy,
    )
    for part in parts:

        def function(values, part=part):
            replaced = x.copy()
            replaced[part] = values
            return conv_relu_pool(replaced, w, b, 1, 1)

        assert_gradients(function, (x[part],), (dx[part],), dy)


def test_are_their_parts():
    x, w, b, _ = course(8, 8)
    for stride, padding in [(1, "same"), (2, "valid"), (1, ((0, 1), (2, 0)))]:
        expected = np.maximum(conv2d(x, w, b, stride, padding), 0)
        np.testing.assert_array_equal(conv_relu(x, w, b, stride, padding), expected)
        np.testing.assert_array_equal(
            conv_relu_pool(x, w, b, stride, padding, (2, 1), 1), max_pool2d(expected, (2, 1), 1)
        )


def test_defaults():
    x, w, _, _ = course(8, 8)
    y = conv_relu(x, w)
    np.testing.assert_array_equal(y, conv_relu(x, w, np.zeros(3), 1, "same"))
    pooled = conv_relu_pool(x, w)
    np.testing.assert_array_equal(pooled, max_pool2d(y, 2, 2))
    for got, expected in [
        (conv_relu_backward(y, x, w), conv_relu_backward(y, x, w, np.zeros(3), 1, "same")),
        (
            conv_relu_pool_backward(pooled, x, w),
            conv_relu_pool_backward(pooled, x, w, np.zeros(3), 1, "same", 2, 2),
        ),
    ]:
        for a, e in zip(got, expected, strict=True):
            np.testing.assert_array_equal(a, e)


def test_the_bias_decides_what_is_off():
    x, w, b, dy = course(8, 8)
    for gradient in conv_relu_backward(dy, x, w, b - 1e3):
        assert not gradient.any()


def test_backward_with_options(assert_gradients):
    x, w, b, _ = course(8, 8)
    x = x[:1, :6, :7]
    options = (2, "valid", (2, 1), 1)
    y = conv_relu_pool(x, w, b, *options)
    dy = np.random.default_rng(0).normal(size=y.shape)
    assert_gradients(
        lambda x, w, b: conv_relu_pool(x, w, b, *options),
        (x, w, b),
        conv_relu_pool_backward(dy, x, w, b, *options),
        dy,
    )
