"""Convolutions by minimal filtering: exact but for roundings, and chosen where they pay."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from jaxcv import ops, reference
from jaxcv.ops import winograd
from jaxcv.ops.winograd import Form
from jaxcv.verification import minimal_filtering
from jaxcv.verification.running_error import Bounded
from tests.agreement import FLOAT64, assert_within

GEOMETRIES = [
    # image, padding
    ((6, 8), ((1, 1), (1, 1))),
    ((4, 4), ((1, 1), (1, 1))),
    ((3, 3), ((1, 1), (1, 1))),
    ((9, 5), ((1, 0), (0, 1))),
    ((7, 7), ((0, 0), (0, 0))),
    ((5, 6), ((2, 3), (4, 2))),
    ((8, 9), ((-1, 1), (2, -2))),  # as gradients of inputs padded by more than two have it
    ((1, 2), ((1, 1), (1, 1))),
]


def drawn(rng, image, padding, batch=4, channels=3, features=5):
    size = [n + sum(pad) - 2 for n, pad in zip(image, padding, strict=True)]
    x = rng.standard_normal((batch, *image, channels))
    kernel = rng.standard_normal((3, 3, channels, features))
    return x, kernel, rng.standard_normal((batch, *size, features))


def cropped(x, padding):
    """What a negative padding leaves, and the padding that is left then."""
    keep = [
        slice(max(-a, 0), n - max(-b, 0)) for n, (a, b) in zip(x.shape[1:3], padding, strict=True)
    ]
    return x[:, keep[0], keep[1]], tuple((max(a, 0), max(b, 0)) for a, b in padding)


@pytest.mark.parametrize("images", [1, 2, 4])
@pytest.mark.parametrize("tile", [3, 4])
@pytest.mark.parametrize(("image", "padding"), GEOMETRIES, ids=str)
def test_it_is_the_convolution_in_float64(rng, image, padding, tile, images):
    """There the errors of a wrong entry or slice, however small, are far above the bound."""
    x, kernel, dy = drawn(rng, image, padding)
    inside, pads = cropped(x, padding)
    y = reference.conv2d(inside, kernel, None, 1, pads)
    _, dkernel, _ = reference.conv2d_backward(dy, inside, kernel, 1, pads)
    form = Form(tile, images)
    with jax.enable_x64(True):
        forward = winograd.convolve(jnp.asarray(x), jnp.asarray(kernel), padding, form)
        gradient = winograd.kernel_gradient(jnp.asarray(x), jnp.asarray(dy), padding, form)
    # The bound's 37 roundings, and as many again that the entries of the matrices are off by: ten
    # of the kernel's (powers, differences, their product), eight of the data's, three of the rest.
    error = 2.2 * minimal_filtering.convolution_error(x, kernel, padding, tile, FLOAT64)
    assert (abs(np.asarray(forward) - y) <= error).all()
    error = 2.2 * minimal_filtering.kernel_gradient_error(x, dy, padding, tile, FLOAT64)
    assert (abs(np.asarray(gradient) - dkernel) <= error).all()


@pytest.mark.parametrize(("dtype", "size"), [("float32", 100), ("bfloat16", 1)])
def test_it_is_within_its_bound(rng, dtype, size):
    """Of large and small numbers too; what has 16 bits is added up in 32 and rounded once."""
    x, kernel, dy = drawn(rng, (6, 7), ((1, 1), (1, 1)), channels=7)
    x, kernel, dy = (jnp.asarray(a, dtype) for a in (size * x, kernel / size, dy))
    wide = [np.asarray(a, np.float64) for a in (x, kernel, dy)]
    y = reference.conv2d(wide[0], wide[1], None, 1, 1)
    _, dkernel, _ = reference.conv2d_backward(wide[2], wide[0], wide[1], 1, 1)
    pads = ((1, 1), (1, 1))
    for tile in (3, 4):
        error = minimal_filtering.convolution_error(wide[0], wide[1], pads, tile, 2.0**-24)
        forward = winograd.convolve(x, kernel, pads, Form(tile, 2))
        assert forward.dtype == x.dtype
        assert_within(forward, Bounded(y, error))
        error = minimal_filtering.kernel_gradient_error(wide[0], wide[2], pads, tile, 2.0**-24)
        assert_within(winograd.kernel_gradient(x, dy, pads, Form(tile, 2)), Bounded(dkernel, error))


def test_a_number_that_is_not_finite_stays_in_its_tile(rng):
    x, kernel, _ = drawn(rng, (12, 12), ((1, 1), (1, 1)))
    x[1, 5, 5] = np.nan
    y = winograd.convolve(
        jnp.asarray(x, "float32"), jnp.asarray(kernel, "float32"), ((1, 1),) * 2, Form(4, 2)
    )
    bad = np.any(np.isnan(np.asarray(y)), axis=-1)
    assert bad[1, 4:7, 4:7].all()
    bad[1, 4:8, 4:8] = False
    assert not bad.any()


@pytest.mark.parametrize(
    ("batch", "size", "kernel", "expected"),
    [
        (128, (16, 16), (3, 3, 64, 64), Form(4, 16)),
        (500, (7, 7), (3, 3, 256, 256), Form(4, 25)),
        (500, (6, 6), (3, 3, 256, 256), Form(3, 25)),  # 36 outputs are four tiles either way
        (500, (3, 3), (3, 3, 256, 256), Form(3, 125)),
        (500, (30, 30), (3, 3, 24, 64), Form(4, 10)),
        (128, (16, 16), (3, 3, 23, 64), None),  # too few channels
        (128, (16, 16), (3, 3, 64, 23), None),
        (128, (2, 2), (3, 3, 64, 64), None),  # nine sixteenths of what is computed is dropped
        (4, (16, 16), (3, 3, 64, 64), Form(4, 4)),
        (3, (16, 16), (3, 3, 64, 64), None),  # too few tiles
        (127, (16, 16), (3, 3, 64, 64), None),  # no way to divide it
        (127, (4, 4), (3, 3, 64, 64), Form(4, 127)),
        (128, (16, 16), (5, 5, 64, 64), None),
        (128, (16, 16), (1, 3, 64, 64), None),
    ],
    ids=str,
)
def test_the_choice(batch, size, kernel, expected):
    for dtype in (jnp.float32, jnp.bfloat16):
        assert winograd.form(batch, size, kernel, (1, 1), dtype) == expected


def test_what_is_left_to_sums_of_products():
    def form(stride=(1, 1), dtype="float32", precision=None):
        return winograd.form(128, (16, 16), (3, 3, 64, 64), stride, dtype, precision)

    assert form() is not None
    assert form(stride=(2, 2)) is form(stride=(1, 2)) is None
    assert form(dtype="float64") is form(dtype="float16") is None
    assert form(precision="highest") is form(precision="default") is None


def large(rng, dtype=jnp.float32):
    x, kernel, dy = drawn(rng, (8, 9), ((1, 1), (1, 1)), 32, 24, 32)
    return tuple(jnp.asarray(a, dtype) for a in (x, kernel, dy))


def bounds_of(x, kernel, dy):
    wide = (np.asarray(a, np.float64) for a in (x, kernel, dy))
    bounds = minimal_filtering.errors(*wide, stride=1, padding="same")
    assert bounds is not None
    return bounds


def convolution(x, kernel):
    return ops.conv2d(x, kernel)


def test_the_op_and_both_gradients_use_it(rng):
    x, kernel, dy = large(rng)
    y, pull = jax.vjp(convolution, x, kernel)
    wide = [np.asarray(a, np.float64) for a in (x, kernel, dy)]
    expected = reference.conv2d(wide[0], wide[1], None, 1, "same")
    gradients = reference.conv2d_backward(wide[2], wide[0], wide[1], 1, "same")[:2]
    bounds = bounds_of(x, kernel, dy)
    for got, value, error in zip((y, *pull(dy)), (expected, *gradients), bounds, strict=True):
        assert_within(got, Bounded(value, error))

    def both(x, kernel, dy):
        y, pull = jax.vjp(convolution, x, kernel)
        return y, pull(dy)

    text = jax.jit(both).lower(x, kernel, dy).as_text()
    assert "convolution" not in text
    assert len(re.findall("stablehlo.dot_general", text)) == 3


def test_lanes_agree_with_runs_alone(rng):
    """As far as roundings go: a product of many lanes is blocked otherwise than one."""
    lanes = [large(rng) for _ in range(2)]

    def both(x, kernel, dy):
        y, pull = jax.vjp(convolution, x, kernel)
        return y, *pull(dy)

    together = jax.vmap(both)(*(jnp.stack(parts) for parts in zip(*lanes, strict=True)))
    for i, lane in enumerate(lanes):
        for got, alone, bound in zip(together, both(*lane), bounds_of(*lane), strict=True):
            assert (abs(np.asarray(got[i]) - np.asarray(alone)) <= 2 * bound).all()


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_accelerators_are_given_the_plain_convolution(rng, platform):
    x, kernel, _ = large(rng)
    text = export.export(jax.jit(ops.conv2d), platforms=[platform])(x, kernel).mlir_module()
    assert "dot_general" not in text
    assert "inlineable" not in text
