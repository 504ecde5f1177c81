"""What is computed separately is the same, and is fused with nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv.ops.separate import computed_once, separately, written_out


def chain(x, apart):
    def doubled(x):
        return 2 * jnp.sin(x)

    y = separately(doubled, x) if apart else doubled(x)
    return y[:5] + y[5:]


def test_a_call_is_left(rng):
    x = jnp.asarray(rng.standard_normal((10, 3)), jnp.float32)
    for apart in (True, False):
        text = jax.jit(chain, static_argnums=1).lower(x, apart).compile().as_text()
        assert text is not None
        assert (" call(" in text) == apart
    np.testing.assert_array_equal(chain(x, True), chain(x, False))


def test_it_can_be_mapped_and_differentiated(rng):
    x = jnp.asarray(rng.standard_normal((4, 10, 3)), jnp.float32)

    def gradient(apart):
        return jax.jit(jax.vmap(jax.grad(lambda x: jnp.sum(chain(x, apart) ** 2))))(x)

    # A difference of an unit in the last place or two, where one is fused and the other is not.
    np.testing.assert_allclose(gradient(True), gradient(False), rtol=2e-6, atol=1e-6)


def compiled(program, *arguments):
    text = jax.jit(program).lower(*arguments).compile().as_text()
    assert text is not None
    return text


@pytest.mark.parametrize("keep", [written_out, computed_once])
def test_what_is_written_out_is_computed_once(rng, keep):
    """XLA computes it anew for each use otherwise, whatever barrier stands between."""
    x = jnp.asarray(rng.standard_normal((64, 32)), jnp.float32)

    def sines(keep):
        def program(x):
            y = keep(jnp.sin(x))
            return jnp.sum(y, axis=0), jnp.sum(y * y, axis=0), y[::2].T

        return compiled(program, x).count(" sine(")

    def cosines(keep):
        """Of a gradient, which passes through it on its way back."""

        def program(x, dy):
            (dx,) = jax.vjp(keep, x)[1](jnp.cos(dy))
            return jnp.sum(dx, axis=0), jnp.sum(dx * x, axis=0), dx[::2].T

        return compiled(program, x, x).count(" cosine(")

    assert sines(keep) == cosines(keep) == 1
    assert sines(jax.lax.optimization_barrier) > 1
    assert cosines(jax.lax.optimization_barrier) > 1


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
