"""What is computed separately is the same, and is fused with nothing."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxcv.ops.separate import separately


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
