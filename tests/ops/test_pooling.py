import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxcv import ops, reference


def gradient(x, *geometry):
    """Of the sum of the outputs, weighted by 1, 2, 3, … so that each can be told apart."""

    def loss(x):
        y = ops.max_pool2d(x, *geometry)
        return jnp.sum(y * jnp.arange(1, y.size + 1, dtype=y.dtype).reshape(y.shape))

    return jax.grad(loss)(x)


def test_a_tie_gives_its_gradient_to_the_first_in_row_major_order():
    x = jnp.asarray([[3.0, 1, 5, 5], [3, 3, 5, 0]])[None, :, :, None]
    expected = [[1, 0, 2, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(gradient(x, 2)[0, :, :, 0], expected)
    # Windows at columns 0, 1 and 2.
    expected = [[1, 0, 2 + 3, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(gradient(x, 2, 1)[0, :, :, 0], expected)


@pytest.mark.parametrize("geometry", [(2,), (2, 1), (3, 2, "same"), (3, 1, 1)], ids=str)
@pytest.mark.parametrize("value", [0.0, -jnp.inf, -3.0])
def test_constant_images(geometry, value):
    x = jnp.full((1, 4, 4, 2), value)
    y = ops.max_pool2d(x, *geometry)
    np.testing.assert_array_equal(y, jnp.full(y.shape, value))
    dy = np.arange(1.0, y.size + 1).reshape(y.shape)
    expected = reference.max_pool2d_backward(dy, x, *geometry)
    np.testing.assert_array_equal(gradient(x, *geometry), expected)


@pytest.mark.parametrize(
    ("window", "stride", "pads"),
    [
        ((2, 2), (2, 2), ((0, 0), (0, 0))),
        ((3, 2), (1, 2), ((1, 2), (0, 1))),
        ((2, 3), (3, 3), ((0, 0), (0, 0))),
    ],
)
def test_the_gradient_is_what_select_and_scatter_makes(rng, window, stride, pads):
    x = jnp.asarray(rng.integers(-2, 3, (2, 6, 6, 3)), jnp.float32)

    def plain(x):
        around = ((0, 0), *pads, (0, 0))
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, *window, 1), (1, *stride, 1), around)

    y, pull = jax.vjp(plain, x)
    dy = jnp.asarray(rng.integers(1, 9, y.shape), jnp.float32)
    ours, ours_pull = jax.vjp(lambda x: ops.max_pool2d(x, window, stride, pads), x)
    np.testing.assert_array_equal(ours, y)
    np.testing.assert_array_equal(ours_pull(dy)[0], pull(dy)[0])


def test_windows_of_more_members_than_a_byte_counts(rng):
    x = jnp.asarray(rng.permutation(17 * 34).reshape(1, 17, 34, 1), jnp.float32)
    dy = np.asarray([3.0, 5.0]).reshape(1, 1, 2, 1)
    _, pull = jax.vjp(lambda x: ops.max_pool2d(x, 17), x)
    expected = reference.max_pool2d_backward(dy, x, 17)
    np.testing.assert_array_equal(pull(jnp.asarray(dy, jnp.float32))[0], expected)
    # 257 members, the last of them the largest: one more than a byte has numbers.
    line = jnp.arange(257, dtype=jnp.float32).reshape(1, 1, 257, 1)
    _, pull = jax.vjp(lambda x: ops.max_pool2d(x, (1, 257)), line)
    np.testing.assert_array_equal(pull(jnp.ones((1, 1, 1, 1)))[0].ravel(), np.arange(257) == 256)


def test_padding_counts_as_zeros_in_the_mean():
    y = ops.avg_pool2d(jnp.ones((1, 2, 2, 1)), 2, 1, 1)
    np.testing.assert_array_equal(
        y[0, :, :, 0], [[0.25, 0.5, 0.25], [0.5, 1, 0.5], [0.25, 0.5, 0.25]]
    )


@pytest.mark.parametrize("op", [ops.max_pool2d, ops.avg_pool2d])
@pytest.mark.parametrize(
    ("shape", "options", "words"),
    [
        ((0, 4, 4, 1), {}, "empty"),
        ((1, 4, 4, 1), {"window": 5}, "does not fit"),
        ((1, 4, 4, 1), {"window": 0}, "window"),
        ((1, 4, 4, 1), {"stride": (0, 1)}, "stride"),
        ((1, 4, 4, 1), {"padding": ((0, 1), (0, -1))}, "negative"),
        ((1, 4, 4, 1), {"padding": "circular"}, '"circular"'),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(op, shape, options, words):
    with pytest.raises(ValueError, match=words) as refused:
        op(jnp.zeros(shape), **options)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("padding", [2, ((0, 3), (0, 0)), ((0, 0), (2, 0))], ids=str)
def test_a_window_of_nothing_but_padding_has_no_maximum(padding):
    with pytest.raises(ValueError, match="nothing but padding"):
        ops.max_pool2d(jnp.zeros((1, 4, 4, 1)), padding=padding)
    zeros = ops.avg_pool2d(jnp.ones((1, 4, 4, 1)), padding=padding) == 0
    assert zeros.any()


def test_global_average_of_nothing_is_refused():
    with pytest.raises(ValueError, match="empty"):
        ops.global_avg_pool2d(jnp.zeros((0, 2, 2, 1)))
