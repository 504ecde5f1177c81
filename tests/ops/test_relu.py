"""`ops.relu` is `nn.relu`, to the bit, and is computed once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcv import ops

SPECIAL = [0.0, -0.0, 1e-45, -1e-45, np.inf, -np.inf, np.nan, 1.5, -1.5]


def bits(x):
    return np.asarray(x).view({2: np.uint16, 4: np.uint32}[x.dtype.itemsize])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("transform", [lambda f: f, jax.jit, lambda f: jax.jit(jax.vmap(f))])
def test_value_and_derivatives_are_those_of_flax(rng, dtype, transform):
    x, dy = (jnp.asarray(rng.standard_normal((9, 5, 5, 3)), dtype) for _ in range(2))
    # Every special number beside every other.
    for i, number in enumerate(SPECIAL):
        x = x.at[i].set(number)
        dy = dy.at[:, 0, i // 3, i % 3].set(number)

    def of(relu):
        def all_of(x, dy):
            y, pull = jax.vjp(relu, x)
            return y, pull(dy)[0], jax.jvp(relu, (x,), (dy,))[1]

        return transform(lambda pair: all_of(*pair))((x, dy))

    for ours, theirs in zip(of(ops.relu), of(nn.relu), strict=True):
        assert ours.dtype == dtype
        np.testing.assert_array_equal(bits(ours), bits(theirs))


def uses(x):
    return jnp.sum(x, axis=0), jnp.sum(x * x, axis=0), x[::2].T


def sines(program, x, of=" sine("):
    text = jax.jit(program).lower(x).compile().as_text()
    assert text is not None
    return text.count(of)


def test_the_result_and_what_the_gradient_lets_through_are_computed_once(rng):
    x = jnp.asarray(rng.standard_normal((64, 32)), jnp.float32)

    def forward(relu):
        return lambda x: uses(relu(jnp.sin(x)))

    def backward(relu):
        return lambda x: uses(*jax.vjp(relu, x)[1](x))

    assert sines(forward(ops.relu), x) == 1
    assert sines(forward(nn.relu), x) > 1
    # Either is written out by a call that is left in the program.
    calls = [sines(backward(relu), x, of=" call(") for relu in (ops.relu, nn.relu)]
    assert calls == [2, 0]


def test_the_gradient_asks_the_result(rng):
    """What was rectified is not computed again."""
    x = jnp.asarray(rng.standard_normal((64, 32)), jnp.float32)

    def program(relu):
        def both(x):
            y, pull = jax.vjp(relu, jnp.sin(x))
            return y, pull(x)[0][::2].T

        return both

    assert sines(program(ops.relu), x) == 1
    assert sines(program(nn.relu), x) > 1


def test_other_platforms_are_given_nothing_but_a_maximum():
    x = jax.ShapeDtypeStruct((2, 4, 4, 3), np.float32)

    def text(platform):
        gradient = jax.jit(jax.grad(lambda x: jnp.sum(ops.relu(x))))
        return jax.export.export(gradient, platforms=[platform])(x).mlir_module()

    assert "optimization_barrier" in text("cpu")
    assert not any("optimization_barrier" in text(platform) for platform in ("cuda", "tpu"))
