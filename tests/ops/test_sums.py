"""The sum of everything: the same number in either form, exact on small integers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv.ops.sums import total

SHAPES = [(1, 3), (31, 2), (32, 5), (33, 2), (100, 4, 4, 1), (96, 2, 3), (7,), (64,)]


@pytest.mark.parametrize("shape", SHAPES)
def test_small_integers_are_summed_exactly(rng, shape):
    x = jnp.asarray(rng.integers(-8, 9, shape), jnp.float32)
    expected = np.asarray(x).sum()
    assert total(x) == expected
    assert jax.jit(total)(x) == expected
    np.testing.assert_array_equal(jax.vmap(total)(jnp.stack([x, 2 * x])), [expected, 2 * expected])


@pytest.mark.parametrize("shape", SHAPES)
def test_the_gradient_reaches_every_number_once(rng, shape):
    x = jnp.asarray(rng.integers(-8, 9, shape), jnp.float32)

    def squares(x):
        return total(jnp.square(x))

    np.testing.assert_array_equal(jax.grad(squares)(x), 2 * x)
    np.testing.assert_array_equal(jax.jit(jax.vmap(jax.grad(squares)))(x[None]), 2 * x[None])


def test_each_backend_sums_in_its_own_form():
    """One reduction elsewhere; on CPU groups of rows, what they leave, and the rest."""
    x = jax.ShapeDtypeStruct((70, 5), np.float32)

    def reductions(platform):
        exported = jax.export.export(jax.jit(total), platforms=[platform])(x)
        return exported.mlir_module().count("stablehlo.reduce(")

    assert (reductions("cpu"), reductions("cuda"), reductions("tpu")) == (3, 1, 1)
