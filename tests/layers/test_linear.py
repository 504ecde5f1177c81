"""Convolutional and dense layers; their values and gradients are in `jaxcv verify`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcv.layers import Conv, Dense
from jaxcv.layers.linear import promoted

CASES = {
    "Conv": (Conv(4, (3, 3)), nn.Conv(4, (3, 3)), (16, 32, 32, 3)),
    "Dense of pixels": (Dense(4), nn.Dense(4), (16, 32, 32, 3)),
    "narrow Dense": (Dense(4), nn.Dense(4), (4096, 20)),
    "Dense": (Dense(64), nn.Dense(64), (4096, 20)),
}


def given(layer: nn.Module, shape: tuple[int, ...], dtype: jnp.dtype):
    x = jax.random.normal(jax.random.key(0), shape)
    return jax.tree.map(lambda a: a.astype(dtype), layer.init(jax.random.key(1), x)), x


@pytest.mark.parametrize("name", ["Conv", "Dense of pixels"])
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_the_gradient_of_a_bias_of_16_bits_is_added_up_in_more(name, dtype):
    """A sum of ones, each of which a sum in bfloat16 would no longer feel beyond 256."""
    layer, _, shape = CASES[name]
    parameters, x = given(layer, shape, dtype)

    def total(parameters):
        return jnp.sum(layer.apply(parameters, x.astype(dtype)).astype(jnp.float32))

    for gradient in (jax.grad(total), jax.jit(jax.grad(total))):
        bias = gradient(parameters)["params"]["bias"]
        assert bias.dtype == dtype
        np.testing.assert_array_equal(bias.astype(np.float32), 16 * 32 * 32)


@pytest.mark.parametrize("name", CASES)
def test_a_kernel_of_16_bits_meets_its_own_type(name):
    """Whatever comes in: what a layer with a bias gives is float32."""
    layer, _, shape = CASES[name]
    parameters, x = given(layer, shape, jnp.dtype(jnp.bfloat16))
    coarse = layer.apply(parameters, x.astype(jnp.bfloat16))
    assert coarse.dtype == jnp.float32
    np.testing.assert_array_equal(layer.apply(parameters, x), coarse)


@pytest.mark.parametrize("name", CASES)
def test_otherwise_types_are_flaxs(name):
    layer, flax, shape = CASES[name]
    parameters, x = given(layer, shape, jnp.dtype(jnp.float32))
    assert layer.apply(parameters, x).dtype == jnp.float32
    np.testing.assert_allclose(layer.apply(parameters, x), flax.apply(parameters, x), atol=1e-5)
    with jax.enable_x64():
        wide = layer.apply(parameters, x.astype(np.float64))
        assert wide.dtype == flax.apply(parameters, x.astype(np.float64)).dtype == np.float64


def test_a_type_that_is_asked_for_is_taken():
    x, kernel, bias = jnp.ones(2), jnp.ones((2, 3), jnp.bfloat16), jnp.ones(3, jnp.bfloat16)
    found = promoted(x, kernel, bias, dtype=jnp.float16)
    assert {array.dtype for array in found if array is not None} == {jnp.dtype(jnp.float16)}
    assert promoted(x, kernel, None)[2] is None
