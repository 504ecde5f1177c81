"""Convolutions by minimal filtering: exact but for roundings, and chosen where they pay."""

import os
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from jaxcv import ops, reference
from jaxcv.ops import winograd
from jaxcv.ops.winograd import Tiling
from jaxcv.verification import minimal_filtering
from jaxcv.verification.running_error import Bounded
from tests.agreement import FLOAT64, assert_within

NHWC = ("NHWC", "HWIO", "NHWC")
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
    how = Tiling(tile, images)
    with jax.enable_x64(True):
        forward = winograd.convolve(jnp.asarray(x), jnp.asarray(kernel), padding, how)
        gradient = winograd.kernel_gradient(jnp.asarray(x), jnp.asarray(dy), padding, how)
    # Entries of the matrices are off by more than one rounding here: by ten of the kernel's, which
    # are quotients of powers and products, eight of the data's, three of the outputs', each side.
    error = 2 * minimal_filtering.convolution_error(x, kernel, padding, tile, FLOAT64)
    assert (abs(np.asarray(forward) - y) <= error).all()
    error = 2 * minimal_filtering.kernel_gradient_error(x, dy, padding, tile, FLOAT64)
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
        forward = winograd.convolve(x, kernel, pads, Tiling(tile, 2))
        assert forward.dtype == x.dtype
        assert_within(forward, Bounded(y, error))
        error = minimal_filtering.kernel_gradient_error(wide[0], wide[2], pads, tile, 2.0**-24)
        assert_within(
            winograd.kernel_gradient(x, dy, pads, Tiling(tile, 2)), Bounded(dkernel, error)
        )


@pytest.mark.parametrize(("row", "rows"), [(5, (4, 8)), (4, (0, 8)), (11, (8, 12))])
def test_a_number_that_is_not_finite_reaches_the_tiles_that_see_it(rng, row, rows):
    x, kernel, _ = (a.astype(np.float32) for a in drawn(rng, (12, 12), ((1, 1), (1, 1))))
    x[1, row, row] = np.inf
    y = winograd.convolve(jnp.asarray(x), jnp.asarray(kernel), ((1, 1), (1, 1)), Tiling(4, 2))
    bad = np.any(np.isnan(np.asarray(y)), axis=-1)
    assert bad[1, slice(*rows), slice(*rows)].all()
    assert bad.sum() == (rows[1] - rows[0]) ** 2


def test_rows_that_no_output_sees_stay_out(rng):
    """Padding of four rows: the outermost reach no pixel."""
    x, kernel, _ = (
        jnp.asarray(a, jnp.float32) for a in drawn(rng, (7, 7), ((4, 4),) * 2, 64, 24, 24)
    )
    y, pull = jax.vjp(lambda x: ops.conv2d(x, kernel, padding=4), x)
    dy = jnp.ones_like(y).at[:, 12].set(jnp.inf)
    np.testing.assert_array_equal(pull(dy)[0], pull(jnp.ones_like(y))[0])


@pytest.mark.parametrize(
    ("batch", "size", "kernel", "expected"),
    [
        (128, (16, 16), (3, 3, 64, 64), Tiling(4, 32)),
        (128, (8, 8), (3, 3, 64, 64), Tiling(4, 128)),  # all at once
        (500, (7, 7), (3, 3, 256, 256), Tiling(4, 20)),
        (500, (6, 6), (3, 3, 256, 256), Tiling(3, 20)),  # 36 outputs are four tiles either way
        (500, (3, 3), (3, 3, 256, 256), Tiling(3, 100)),
        (500, (30, 30), (3, 3, 24, 64), Tiling(4, 20)),
        (128, (16, 16), (3, 3, 23, 64), None),  # too few channels
        (128, (16, 16), (3, 3, 64, 23), None),
        (128, (2, 2), (3, 3, 64, 64), None),  # nine sixteenths of what is computed is dropped
        (4, (16, 16), (3, 3, 64, 64), Tiling(4, 4)),
        (3, (16, 16), (3, 3, 64, 64), None),  # too few tiles
        (127, (16, 16), (3, 3, 64, 64), None),  # no way to divide it
        (127, (4, 4), (3, 3, 64, 64), Tiling(4, 127)),
        (228, (8, 8), (3, 3, 64, 64), Tiling(4, 76)),  # one more than fits
        (500, (14, 14), (3, 3, 64, 256), Tiling(4, 20)),  # of which four devices have a share
        (1, (512, 512), (3, 3, 64, 64), None),  # leaves the cache
        (128, (16, 16), (5, 5, 64, 64), None),
        (128, (16, 16), (1, 3, 64, 64), None),
    ],
    ids=str,
)
def test_the_choice(batch, size, kernel, expected):
    for dtype in (jnp.float32, jnp.bfloat16):
        x = (batch, *size, kernel[2])
        assert winograd.tiling(x, size, kernel, (1, 1), dtype) == expected


def test_what_is_left_to_sums_of_products():
    def tiling(stride=(1, 1), dtype="float32", precision=None):
        x, kernel = (128, 16, 16, 64), (3, 3, 64, 64)
        return winograd.tiling(x, (16, 16), kernel, stride, dtype, precision)

    assert tiling() is not None
    assert tiling(stride=(2, 2)) is tiling(stride=(1, 2)) is None
    assert tiling(dtype="float64") is tiling(dtype="float16") is None
    assert tiling(precision="highest") is tiling(precision="default") is None
    with jax.default_matmul_precision("highest"):
        assert tiling() is None


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


@pytest.mark.parametrize("precision", [None, "highest"])
def test_a_precision_reaches_all_three(rng, precision):
    x, kernel, dy = large(rng)

    def both(x, kernel, dy):
        y, pull = jax.vjp(
            lambda x, kernel: ops.conv_general_dilated(
                x, kernel, (1, 1), "SAME", None, None, NHWC, precision=precision
            ),
            x,
            kernel,
        )
        return y, *pull(dy)

    text = jax.jit(both).lower(x, kernel, dy).as_text()
    assert text.count("stablehlo.dot_general") == (3 if precision is None else 0)


def test_a_strided_gradient_adds_products_up(rng):
    """A 5×5 kernel's phases are 3×3; whole numbers stay exact."""
    x, kernel = (
        rng.integers(-2, 3, s).astype("float32") for s in ((16, 15, 15, 32), (5, 5, 32, 24))
    )
    y, pull = jax.vjp(lambda x: ops.conv2d(x, jnp.asarray(kernel), stride=2), jnp.asarray(x))
    dy = rng.integers(-2, 3, y.shape).astype("float32")
    expected, _, _ = reference.conv2d_backward(dy, x, kernel, 2, "same")
    np.testing.assert_array_equal(pull(jnp.asarray(dy))[0], expected)


def test_a_program_for_any_batch_can_be_exported(rng):
    (batch,) = export.symbolic_shape("batch")
    x = jax.ShapeDtypeStruct((batch, 8, 9, 24), jnp.float32)
    images, kernel, _ = large(rng)
    program = export.export(jax.jit(convolution), platforms=["cpu", "cuda"])(x, kernel)
    bound, _, _ = bounds_of(images, kernel, jnp.zeros((32, 8, 9, 32)))
    error = np.asarray(program.call(images, kernel)) - np.asarray(convolution(images, kernel))
    assert (abs(error) <= bound).all()


SHARDED = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from jaxcv import ops

def convolution(x, kernel):
    return ops.conv2d(x, kernel)

def both(x, kernel, dy):
    y, pull = jax.vjp(convolution, x, kernel)
    return y, *pull(dy)

for devices in (2, 4):
    some = jax.devices()[:devices]
    mesh = jax.make_mesh((devices,), ("b",), axis_types=(AxisType.Auto,), devices=some)
    shared, everywhere = NamedSharding(mesh, P("b")), NamedSharding(mesh, P())
    x, kernel = jnp.ones((500, 14, 14, 32)), jnp.ones((3, 3, 32, 128))
    dy = jnp.ones((500, 14, 14, 128))
    given = [jax.device_put(a, s) for a, s in ((x, shared), (kernel, everywhere), (dy, shared))]
    compiled = jax.jit(both).lower(*given).compile()
    text = compiled.as_text()
    assert " dot(" in text and " convolution(" not in text
    for word in ("all-gather", "all-to-all", "collective-permute"):
        assert f" {word}(" not in text
    assert [s.spec for s in compiled.output_shardings[:2]] == [P("b"), P("b")]
mesh = jax.make_mesh((4,), ("b",), axis_types=(AxisType.Auto,))
x, kernel = jnp.ones((64, 8, 8, 24)), jnp.ones((3, 3, 24, 24))
mapped = jax.shard_map(convolution, mesh=mesh, in_specs=(P("b"), P()), out_specs=P("b"))
assert np.allclose(jax.jit(mapped)(x, kernel), convolution(x, kernel), rtol=1e-4)
mesh = jax.make_mesh((4,), ("b",), axis_types=(AxisType.Explicit,))
with jax.set_mesh(mesh):
    x = jax.device_put(x, NamedSharding(mesh, P("b")))
    assert jax.jit(convolution)(x, kernel).shape == (64, 8, 8, 24)
"""


def test_devices_share_each_part():
    variables = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    run = subprocess.run(
        [sys.executable, "-c", SHARDED], env=variables, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr
