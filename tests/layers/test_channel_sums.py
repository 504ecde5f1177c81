"""Sums by channel: the same number in either form, exact on small integers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv.layers.channel_sums import channel_sum, computed_once


@pytest.mark.parametrize("shape", [(7, 3), (2, 5, 3), (4, 5, 3, 6), (1, 1, 1, 1), (2, 3, 2, 4, 5)])
def test_small_integers_are_summed_exactly(rng, shape):
    x = jnp.asarray(rng.integers(-8, 9, shape), jnp.float32)
    expected = np.asarray(x).reshape(-1, shape[-1]).sum(axis=0)
    np.testing.assert_array_equal(channel_sum(x), expected)
    np.testing.assert_array_equal(jax.jit(channel_sum)(x), expected)
    together = jax.vmap(channel_sum)(jnp.stack([x, 2 * x]))
    np.testing.assert_array_equal(together, [expected, 2 * expected])


def test_each_backend_sums_in_its_own_form():
    """One reduction elsewhere, two on CPU: by rows, then over a row's pixels."""
    x = jax.ShapeDtypeStruct((4, 5, 3, 6), np.float32)

    def reductions(platform):
        exported = jax.export.export(jax.jit(channel_sum), platforms=[platform])(x)
        return exported.mlir_module().count("stablehlo.reduce(")

    assert (reductions("cpu"), reductions("cuda"), reductions("tpu")) == (2, 1, 1)


def test_computed_once_changes_nothing(rng):
    x = jnp.asarray(rng.standard_normal((3, 4)), jnp.float32)
    y, pull = jax.vjp(computed_once, x)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(pull(2 * x)[0], 2 * x)


def test_computed_once_is_nothing_elsewhere():
    x = jax.ShapeDtypeStruct((3, 4), np.float32)

    def waits(platform):
        exported = jax.export.export(jax.jit(computed_once), platforms=[platform])(x)
        return "optimization_barrier" in exported.mlir_module()

    assert (waits("cpu"), waits("cuda"), waits("tpu")) == (True, False, False)
