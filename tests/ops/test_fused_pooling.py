"""The gradient of a maximum whose inputs the compiler computes twice, and not to the same bit.

Fused into what normalises them, the inputs may be rounded otherwise on the way back than on the way
forth. Each gradient must land all the same, and on the same element.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import layers, ops


def block(x, kernel, scale, bias):
    x = ops.conv2d(x, kernel)
    start = jnp.zeros(x.shape[-1]), jnp.ones(x.shape[-1])
    x, *_ = layers.batch_norm(x, scale, bias, *start)
    return ops.max_pool2d(jax.nn.relu(x))


def loss(inputs, dy):
    return (block(*inputs) * dy).sum()


@pytest.mark.parametrize("size", [(8, 8), (9, 8)])
def test_compiled_and_eager_gradients_agree(size):
    compiled = jax.jit(jax.grad(loss))
    for seed in range(8):
        rng = np.random.default_rng(seed)
        shapes = (4, *size, 3), (3, 3, 3, 5), (5,), (5,)
        inputs = tuple(jnp.asarray(rng.standard_normal(s), jnp.float32) for s in shapes)
        dy = jnp.asarray(rng.standard_normal((4, 4, 4, 5)), jnp.float32)
        # An element that gets a wrong gradient is wrong by a few tenths.
        chex.assert_trees_all_close(
            compiled(inputs, dy), jax.grad(loss)(inputs, dy), rtol=1e-3, atol=1e-3
        )


def test_no_gradient_is_lost(rng):
    """The gradients of the inputs add up to those of the maxima, whatever is fused."""

    @jax.jit
    def total(x, scale, dy):
        def pooled(offset):
            z = jax.nn.tanh(x * scale + 0.1) * jax.lax.rsqrt(scale) + offset
            return (ops.max_pool2d(z) * dy).sum()

        return jax.grad(pooled)(jnp.zeros_like(x)).sum()

    for _ in range(5):
        x = jnp.asarray(rng.standard_normal((8, 16, 16, 4)), jnp.float32)
        scale = jnp.asarray(rng.uniform(0.5, 2, 4), jnp.float32)
        dy = jnp.asarray(rng.integers(1, 4, (8, 8, 8, 4)), jnp.float32)
        assert float(total(x, scale, dy)) == float(dy.sum())
