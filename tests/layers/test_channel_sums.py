"""Sums by channel: the same number in either form, exact on small integers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv.layers.channel_sums import channel_sum

# Rows that go by eight, by four, by two and one at a time, and none at all.
SHAPES = [
    *[(4, 4, 3, 6), (2, 6, 3, 6), (2, 5, 3, 6), (3, 5, 3, 6)],
    *[(7, 3), (2, 5, 3), (1, 1, 1, 1), (2, 3, 2, 4, 5)],
]


@pytest.mark.parametrize("shape", SHAPES)
def test_small_integers_are_summed_exactly(rng, shape):
    x = jnp.asarray(rng.integers(-8, 9, shape), jnp.float32)
    expected = np.asarray(x).reshape(-1, shape[-1]).sum(axis=0)
    np.testing.assert_array_equal(channel_sum(x), expected)
    np.testing.assert_array_equal(jax.jit(channel_sum)(x), expected)
    together = jax.vmap(channel_sum)(jnp.stack([x, 2 * x]))
    np.testing.assert_array_equal(together, [expected, 2 * expected])


@pytest.mark.parametrize("shape", SHAPES)
def test_terms_are_of_arrays_and_of_numbers_by_channel(rng, shape):
    x, y = (jnp.asarray(rng.integers(-8, 9, shape), jnp.float32) for _ in range(2))
    mean = jnp.arange(shape[-1], dtype=jnp.float32)

    def moment(x, mean, y):
        return channel_sum(x, mean, y, term=lambda x, mean, y: (x - mean) * y)

    expected = np.asarray((x - mean) * y).reshape(-1, shape[-1]).sum(axis=0)
    np.testing.assert_array_equal(jax.jit(moment)(x, mean, y), expected)
    together = jax.vmap(moment, in_axes=(0, None, None))(jnp.stack([x, x]), mean, y)
    np.testing.assert_array_equal(together, [expected, expected])


def test_a_batch_may_be_of_any_size(rng):
    (batch,) = jax.export.symbolic_shape("batch")
    x = jax.ShapeDtypeStruct((batch, 6, 3, 2), np.float32)
    exported = jax.export.export(jax.jit(channel_sum), platforms=["cpu"])(x)
    for size in (1, 5):
        x = rng.integers(-8, 9, (size, 6, 3, 2)).astype(np.float32)
        np.testing.assert_array_equal(exported.call(x), x.sum(axis=(0, 1, 2)))


def test_some_rows_of_an_image_are_added_up_first_on_the_way():
    """Never rows of two images, which may lie on different devices, and only where some divide."""

    def moment(x, mean):
        return channel_sum(x, mean, term=lambda x, mean: jnp.square(x - mean))

    def compiled(*shape):
        shapes = [jax.ShapeDtypeStruct(sizes, np.float32) for sizes in (shape, shape[-1:])]
        text = jax.jit(moment).lower(*shapes).compile().as_text()
        assert text is not None
        return text

    for shape, groups in (((4, 32, 8, 6), 4), ((4, 28, 8, 6), 4), ((3, 5, 4, 9, 8, 6), 30)):
        text = compiled(*shape)
        # One vector that lies there as often as a row has pixels, and the sums of the rows.
        assert text.count(" call(") == 2
        assert f"f32[{shape[0] * groups},48]" in text
    assert compiled(4, 37, 8, 6).count(" call(") == 1


def test_each_backend_sums_in_its_own_form():
    """One reduction elsewhere, three on CPU: some rows, all rows, then a row's pixels."""
    x = jax.ShapeDtypeStruct((4, 5, 3, 6), np.float32)

    def reductions(platform):
        exported = jax.export.export(jax.jit(channel_sum), platforms=[platform])(x)
        return exported.mlir_module().count("stablehlo.reduce(")

    assert (reductions("cpu"), reductions("cuda"), reductions("tpu")) == (3, 1, 1)
