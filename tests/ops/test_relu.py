"""`ops.relu` is `nn.relu`, to the bit, whatever it is given and however it is transformed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcv import ops

SPECIAL = [0.0, -0.0, 1e-45, -1e-45, np.inf, -np.inf, np.nan, 1.5, -1.5]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("transform", [lambda f: f, jax.jit, lambda f: jax.jit(jax.vmap(f))])
def test_value_and_gradient_are_those_of_flax(rng, dtype, transform):
    x = jnp.asarray(rng.standard_normal((4, 5, 5, 3)), dtype)
    x = x.ravel().at[: len(SPECIAL)].set(jnp.asarray(SPECIAL, dtype)).reshape(x.shape)
    dy = jnp.asarray(rng.standard_normal(x.shape), dtype)

    def of(relu):
        def both(x, dy):
            y, pull = jax.vjp(relu, x)
            return y, pull(dy)[0]

        return transform(lambda pair: both(*pair))((x, dy))

    for ours, theirs in zip(of(ops.relu), of(nn.relu), strict=True):
        assert ours.dtype == dtype
        np.testing.assert_array_equal(ours.astype(np.float32), theirs.astype(np.float32))


def test_other_platforms_are_given_nothing_but_a_maximum():
    x = jax.ShapeDtypeStruct((2, 4, 4, 3), np.float32)

    def text(platform):
        gradient = jax.jit(jax.grad(lambda x: jnp.sum(ops.relu(x))))
        return jax.export.export(gradient, platforms=[platform])(x).mlir_module()

    assert "optimization_barrier" in text("cpu")
    assert not any("optimization_barrier" in text(platform) for platform in ("cuda", "tpu"))
