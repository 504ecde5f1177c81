import numpy as np
import pytest

from jaxcv.reference import (
    batch_norm,
    batch_norm_backward,
    batch_norm_ncl,
    batch_norm_ncl_backward,
)

CHANNELS_LAST = (0, 2, 3, 1)


def draw(*shape):
    rng = np.random.default_rng(0)
    x, dy = 2 * rng.normal(size=shape) + 3, rng.normal(size=shape)
    return x, rng.normal(size=shape[-1]), rng.normal(size=shape[-1]), dy


def running(channels):
    rng = np.random.default_rng(5)
    return rng.normal(size=channels), rng.uniform(0.5, 2.0, channels)


@pytest.mark.parametrize("shape", [(6, 3), (4, 5, 3), (2, 3, 4, 3)])
def test_training_by_hand(shape):
    x, scale, bias, _ = draw(*shape)
    y, mean, var = batch_norm(x, scale, bias, *running(3), True, 0.9, 1e-2)
    old_mean, old_var = running(3)
    for c in range(3):
        values = x[..., c].ravel()
        m = sum(values) / values.size
        v = sum((values - m) ** 2) / values.size
        expected = scale[c] * (x[..., c] - m) / (v + 1e-2) ** 0.5 + bias[c]
        np.testing.assert_allclose(y[..., c], expected, rtol=1e-12)
        assert mean[c] == pytest.approx(0.9 * old_mean[c] + 0.1 * m, rel=1e-13)
        assert var[c] == pytest.approx(0.9 * old_var[c] + 0.1 * v, rel=1e-13)


@pytest.mark.parametrize("shape", [(6, 3), (2, 3, 4, 3)])
def test_evaluation_by_hand(shape):
    x, scale, bias, _ = draw(*shape)
    mean, var = running(3)
    y, new_mean, new_var = batch_norm(x, scale, bias, mean, var, training=False, epsilon=1e-2)
    np.testing.assert_allclose(y, scale * (x - mean) / np.sqrt(var + 1e-2) + bias, rtol=1e-13)
    np.testing.assert_array_equal(new_mean, mean)
    np.testing.assert_array_equal(new_var, var)


def test_defaults_are_keras():
    x, scale, bias, dy = draw(6, 3)
    explicit = batch_norm(x, scale, bias, np.zeros(3), np.ones(3), True, 0.99, 1e-3)
    for got, expected in zip(batch_norm(x, scale, bias), explicit, strict=True):
        np.testing.assert_array_equal(got, expected)
    for got, expected in zip(
        batch_norm_backward(dy, x, scale),
        batch_norm_backward(dy, x, scale, 1e-3, True),
        strict=True,
    ):
        np.testing.assert_array_equal(got, expected)


def test_none_is_scale_1_and_bias_0():
    x, _, _, dy = draw(6, 3)
    ones = batch_norm(x, np.ones(3), np.zeros(3))[0]
    np.testing.assert_array_equal(batch_norm(x, None, None)[0], ones)
    for got, expected in zip(
        batch_norm_backward(dy, x, None), batch_norm_backward(dy, x, np.ones(3)), strict=True
    ):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("shape", [(6, 3), (2, 3, 4, 3), (1, 2, 2, 1)])
def test_training_gradients_equal_central_differences(shape, assert_gradients):
    x, scale, bias, dy = draw(*shape)
    assert_gradients(
        lambda x, scale, bias: batch_norm(x, scale, bias, epsilon=1e-2)[0],
        (x, scale, bias),
        batch_norm_backward(dy, x, scale, 1e-2),
        dy,
    )


@pytest.mark.parametrize("shape", [(6, 3), (2, 3, 4, 3)])
def test_evaluation_gradients_equal_central_differences(shape, assert_gradients):
    x, scale, bias, dy = draw(*shape)
    mean, var = running(3)
    assert_gradients(
        lambda x, scale, bias: batch_norm(x, scale, bias, mean, var, False, epsilon=1e-2)[0],
        (x, scale, bias),
        batch_norm_backward(dy, x, scale, 1e-2, training=False, running_mean=mean, running_var=var),
        dy,
    )


def test_course_training_statistics():
    x = 4 * np.random.RandomState(231).randn(2, 3, 4, 5) + 10
    np.testing.assert_allclose(
        x.mean((0, 2, 3)), [9.33463814, 8.90909116, 9.11056338], rtol=0, atol=5.01e-9
    )
    np.testing.assert_allclose(
        x.std((0, 2, 3)), [3.61447857, 3.19347686, 3.5168142], rtol=0, atol=5.01e-9
    )
    x = x.transpose(CHANNELS_LAST)
    plain, _, _ = batch_norm(x, np.ones(3), np.zeros(3), epsilon=1e-5)
    np.testing.assert_allclose(plain.mean((0, 1, 2)), 0.0, atol=2e-15)
    np.testing.assert_allclose(
        plain.std((0, 1, 2)), [0.99999962, 0.99999951, 0.9999996], rtol=0, atol=5.01e-9
    )
    affine, _, _ = batch_norm(x, [3, 4, 5], [6, 7, 8], epsilon=1e-5)
    np.testing.assert_allclose(affine.mean((0, 1, 2)), [6, 7, 8], rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        affine.std((0, 1, 2)), [2.99999885, 3.99999804, 4.99999798], rtol=0, atol=5.01e-9
    )


def test_course_evaluation_statistics():
    draws = np.random.RandomState(231)
    mean, var = np.zeros(4), np.zeros(4)
    for _ in range(50):
        x = (2.3 * draws.randn(10, 4, 11, 12) + 13).transpose(CHANNELS_LAST)
        _, mean, var = batch_norm(x, None, None, mean, var, momentum=0.9, epsilon=1e-5)
    x = (2.3 * draws.randn(10, 4, 11, 12) + 13).transpose(CHANNELS_LAST)
    y, _, _ = batch_norm(x, None, None, mean, var, training=False, epsilon=1e-5)
    printed_mean = [-0.08034406, 0.07562881, 0.05716371, 0.04378383]
    printed_std = [0.96718744, 1.0299714, 1.02887624, 1.00585577]
    np.testing.assert_allclose(y.mean((0, 1, 2)), printed_mean, rtol=0, atol=5.01e-9)
    np.testing.assert_allclose(y.std((0, 1, 2)), printed_std, rtol=0, atol=5.01e-9)


def test_course_gradients(assert_gradients):
    draws = np.random.RandomState(231)
    x = (5 * draws.randn(2, 3, 4, 5) + 12).transpose(CHANNELS_LAST)
    scale, bias = draws.randn(3), draws.randn(3)
    dy = draws.randn(2, 3, 4, 5).transpose(CHANNELS_LAST)
    assert_gradients(
        lambda x, scale, bias: batch_norm(x, scale, bias, epsilon=1e-5)[0],
        (x, scale, bias),
        batch_norm_backward(dy, x, scale, 1e-5),
        dy,
    )


def test_constant_input_becomes_the_bias():
    x = np.full((4, 2, 2, 3), 7.0)
    y, mean, var = batch_norm(x, np.ones(3), [1.0, 2.0, 3.0], momentum=0.5)
    np.testing.assert_array_equal(y, np.broadcast_to([1.0, 2.0, 3.0], x.shape))
    np.testing.assert_array_equal(mean, 3.5)
    np.testing.assert_array_equal(var, 0.5)


def test_a_large_offset_costs_few_digits():
    x, scale, bias, dy = draw(64, 3)
    x = np.round(x, 3)
    near, far = batch_norm(x, scale, bias)[0], batch_norm(x + 1e6, scale, bias)[0]
    np.testing.assert_allclose(far, near, rtol=0, atol=1e-8)
    near, far = batch_norm_backward(dy, x, scale)[0], batch_norm_backward(dy, x + 1e6, scale)[0]
    np.testing.assert_allclose(far, near, rtol=0, atol=1e-8)


def test_dx_has_no_part_that_normalisation_removes():
    x, scale, _, dy = draw(8, 3)
    dx = batch_norm_backward(dy, x, scale, 1e-12)[0]
    np.testing.assert_allclose(dx.sum(0), 0.0, atol=1e-12)
    np.testing.assert_allclose((dx * x).sum(0), 0.0, atol=1e-10)


def test_ncl_by_hand_is_unbiased():
    x = np.random.default_rng(0).normal(size=(3, 2, 4))
    y = batch_norm_ncl(x, [2.0, 3.0], [0.5, -0.5])
    for c in range(2):
        variance = x[:, c].var(ddof=1)
        expected = (c + 2.0) * (x[:, c] - x[:, c].mean()) / np.sqrt(variance + 1e-5) + 0.5 - c
        np.testing.assert_allclose(y[:, c], expected, rtol=1e-12)
    np.testing.assert_array_equal(batch_norm_ncl(x), batch_norm_ncl(x, [1, 1], [0, 0], 1e-5))


def test_ncl_is_the_biased_form_times_a_factor():
    x = np.random.default_rng(0).normal(size=(3, 2, 4))
    biased = batch_norm(x.transpose(0, 2, 1), None, None, epsilon=1e-14)[0].transpose(0, 2, 1)
    ncl = batch_norm_ncl(x, epsilon=1e-14)
    np.testing.assert_allclose(ncl, biased * np.sqrt(1 - 1 / 12), rtol=1e-12)


def test_ncl_gradients_equal_central_differences(assert_gradients):
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(3, 2, 4)), rng.normal(size=(3, 2, 4))
    scale, bias = rng.normal(size=2), rng.normal(size=2)
    assert_gradients(
        lambda x, scale, bias: batch_norm_ncl(x, scale, bias, 1e-2),
        (x, scale, bias),
        batch_norm_ncl_backward(dy, x, scale, 1e-2),
        dy,
    )
    dx, _, _ = batch_norm_ncl_backward(dy, x)
    assert_gradients(batch_norm_ncl, (x,), (dx,), dy)


X, C = np.ones((4, 3)), np.ones(3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X[0], C, C), "x must have axes"),
        ((X[:0], C, C), "x must not be empty"),
        ((X, C[:2], C), r"scale must have shape \(3,\)"),
        ((X, C, X), r"bias must have axes \(channels\)"),
        ((X, C, C, C[:2]), r"running_mean must have shape \(3,\)"),
        ((X, C, C, C, C[:2]), r"running_var must have shape \(3,\)"),
        ((X, C, C, C, C, True, 1.1), r"momentum must lie in \[0, 1\], got 1.1"),
        ((X, C, C, C, C, True, -0.1), "momentum must lie"),
        ((X, C, C, C, C, True, 0.9, 0.0), "epsilon must be positive, got 0.0"),
        ((X, C, C, C, C, False, 0.9, 0.0), "epsilon must be positive, got 0.0"),
        ((X, C, C, None, C, False), "evaluation needs running_mean and running_var"),
        ((X, C, C, C, None, False), "evaluation needs running_mean and running_var"),
        ((X, C, C, C[:2], C, False), r"running_mean must have shape \(3,\)"),
        ((X, C, C, C, C[:2], False), r"running_var must have shape \(3,\)"),
        ((X, C, C, C, -C, False), "running_var must not be negative, got -1.0"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        batch_norm(*arguments)


def test_backward_refuses():
    with pytest.raises(ValueError, match="dy must have shape"):
        batch_norm_backward(X.T, X, C)
    with pytest.raises(ValueError, match="scale must have shape"):
        batch_norm_backward(X, X, C[:2])
    with pytest.raises(ValueError, match="evaluation needs"):
        batch_norm_backward(X, X, C, training=False)
    ncl = np.ones((3, 2, 4))
    with pytest.raises(ValueError, match="dy must have shape"):
        batch_norm_ncl_backward(ncl.T, ncl)
    with pytest.raises(ValueError, match=r"scale must have shape \(2,\)"):
        batch_norm_ncl_backward(ncl, ncl, C)


def test_ncl_refuses():
    with pytest.raises(ValueError, match=r"x must have axes \(batch, channels, length\)"):
        batch_norm_ncl(X)
    with pytest.raises(ValueError, match="at least two elements per channel"):
        batch_norm_ncl(np.ones((1, 2, 1)))
    with pytest.raises(ValueError, match=r"bias must have shape \(2,\)"):
        batch_norm_ncl(np.ones((3, 2, 4)), None, C)
    assert np.isfinite(batch_norm_ncl(np.ones((1, 2, 2)))).all()
