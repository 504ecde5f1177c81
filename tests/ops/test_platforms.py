"""The program of each platform holds what that platform runs well, whatever the host is."""

import collections
import re

import jax
import jax.numpy as jnp
import pytest
from jax import export, lax

from jaxcv import ops

X = jax.ShapeDtypeStruct((8, 16, 16, 64), jnp.float32)
KERNEL = jax.ShapeDtypeStruct((3, 3, 64, 64), jnp.float32)
FEW = (
    jax.ShapeDtypeStruct((16, 16, 16, 16), jnp.float32),
    jax.ShapeDtypeStruct((3, 3, 16, 64), jnp.float32),
)


def ours(x, kernel, stride):
    return jnp.sum(ops.max_pool2d(ops.conv2d(x, kernel, stride=stride)))


def plain(x, kernel, stride):
    y = lax.conv_general_dilated(
        x, kernel, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return jnp.sum(lax.reduce_window(y, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"))


def looped(loss, stride):
    """Training as a loop of unknown length: gradients of both arguments, used."""

    def train(steps, x, kernel):
        def step(_, arguments):
            gradients = jax.grad(loss, (0, 1))(*arguments, stride)
            return jax.tree.map(lambda a, g: a - 0.1 * g, arguments, gradients)

        return lax.fori_loop(0, steps, step, (x, kernel))

    return train


def operations(loss, stride: int, platform: str, shapes=(X, KERNEL)) -> collections.Counter[str]:
    """How often the lowered module names each operation."""
    program = export.export(jax.jit(looped(loss, stride)), platforms=[platform])
    text = program(1, *shapes).mlir_module()
    return collections.Counter(re.findall(r"\b(?:stablehlo|chlo|mhlo|func)\.(\w+)", text))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_accelerators_are_given_the_plain_operations(platform: str, stride: int):
    found = operations(ours, stride, platform)
    assert found["convolution"] == 3
    assert found["select_and_scatter"] == 1
    # Nothing else either, but for what is left of the choice: a case of one branch.
    expected = operations(plain, stride, platform)
    assert found - expected == {
        "case": found["case"],
        "return": found["return"] - expected["return"],
    }
    assert not expected - found


@pytest.mark.parametrize("stride", [1, 2])
def test_cpu_is_given_its_own_forms(stride: int):
    found = operations(ours, stride, "cpu", FEW)
    assert found["select_and_scatter"] == found["custom_call"] == found["dot_general"] == 0
    # One forward, sixteen parts of the batch abreast, one for each phase of a strided gradient.
    assert found["convolution"] == 1 + 16 + stride**2


def test_cpu_multiplies_tiles_of_many_channels():
    found = operations(ours, 1, "cpu")
    assert found["select_and_scatter"] == found["custom_call"] == found["convolution"] == 0
    assert found["dot_general"] == 3


def test_the_choice_leaves_no_condition_in_the_loop():
    compiled = jax.jit(looped(ours, 2)).lower(1, X, KERNEL).compile().as_text()
    assert compiled is not None
    assert " conditional(" not in compiled


def test_every_convolution_in_the_loop_is_in_the_order_that_xla_runs_fast():
    text = jax.jit(looped(ours, 2)).lower(1, X, KERNEL).as_text()
    orders = set(re.findall(r"dim_numbers = (\[.*?\]x\[.*?\]->\[.*?\])", text))
    assert orders == {"[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]"}


def test_an_unused_input_gradient_is_not_computed():
    def gradient(x, kernel):
        return jax.grad(ours, 1)(x, kernel, 1)

    def both(x, kernel):
        return jax.grad(ours, (0, 1))(x, kernel, 1)

    def count(function, what, shapes):
        text = jax.jit(function).lower(*shapes).compile().as_text()
        assert text is not None
        return len(re.findall(rf" {what}\(", text))

    for what, shapes in (("convolution", FEW), ("dot", (X, KERNEL))):
        assert count(both, what, shapes) == count(gradient, what, shapes) + 1
