"""Products of rows with a small kernel: both gradients, in every form and on each backend."""

import functools
import itertools
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax

from jaxcv import ops, reference
from jaxcv.ops import products

TALL = products._TALL


def product(dot_general, x, kernel):
    return dot_general(x, kernel, (((1,), (0,)), ((), ())))


def gradients(x, kernel, dy, dot_general=ops.dot_general):
    y, pull = jax.vjp(functools.partial(product, dot_general), x, kernel)
    return y, *pull(dy)


def drawn(rng, rows, inputs, features, dtype=jnp.float32):
    shapes = ((rows, inputs), (inputs, features), (rows, features))
    return [jnp.asarray(rng.integers(-2, 3, shape), dtype) for shape in shapes]


@pytest.mark.parametrize("rows", [1, 7, TALL - 1, TALL, TALL + 1, TALL + 2])
@pytest.mark.parametrize(("inputs", "features"), [(5, 3), (3, 5), (4, 4), (1, 1), (13, 3), (4, 1)])
def test_small_integers_are_multiplied_exactly(rng, rows, inputs, features):
    x, kernel, dy = drawn(rng, rows, inputs, features)
    got = gradients(x, kernel, dy)
    dx, dkernel, _ = reference.dense_backward(*map(np.asarray, (dy, x, kernel)))
    for a, b in zip(got, (np.asarray(x) @ np.asarray(kernel), dx, dkernel), strict=True):
        np.testing.assert_array_equal(a, b)
    for transformed in (jax.jit(gradients), lambda *a: jax.vmap(gradients)(*(b[None] for b in a))):
        for a, b in zip(transformed(x, kernel, dy), got, strict=True):
            np.testing.assert_array_equal(a.reshape(b.shape), b)


@pytest.mark.parametrize("batched", list(itertools.product([0, None], repeat=3))[:-1], ids=str)
@pytest.mark.parametrize("rows", [9, TALL])
def test_lanes_may_share_any_operand(rng, rows, batched):
    lanes = [drawn(rng, rows, 16, 4) for _ in range(3)]
    stacked = [
        lanes[0][i] if axis is None else jnp.stack([lane[i] for lane in lanes])
        for i, axis in enumerate(batched)
    ]
    got = jax.jit(jax.vmap(gradients, in_axes=batched))(*stacked)
    for n, lane in enumerate(lanes):
        own = [stacked[i] if axis is None else lane[i] for i, axis in enumerate(batched)]
        for a, b in zip(got, gradients(*own), strict=True):
            np.testing.assert_array_equal(a[n], b)


def test_gradients_have_derivatives_of_both_modes(rng):
    x, kernel, _ = drawn(rng, 6, 16, 3)

    def loss(dot_general, kernel):
        return jnp.sum(product(dot_general, x, kernel) ** 3)

    ours, theirs = (
        jax.grad(functools.partial(loss, form)) for form in (ops.dot_general, lax.dot_general)
    )
    expected = jax.jvp(theirs, (kernel,), (jnp.ones_like(kernel),))
    for a, b in zip(jax.jvp(ours, (kernel,), (jnp.ones_like(kernel),)), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    again, expected = (jax.grad(lambda k, g=g: jnp.sum(g(k) ** 2))(kernel) for g in (ours, theirs))
    np.testing.assert_allclose(again, expected, rtol=1e-6)


def test_a_gradient_taken_later_has_the_precision_of_its_product():
    x, kernel = jnp.ones((5, 40)), jnp.ones((40, 10))

    def later(dy):
        with jax.default_matmul_precision("highest"):
            _, pull = jax.vjp(functools.partial(product, ops.dot_general), x, kernel)
        return pull(dy)

    assert str(jax.make_jaxpr(later)(jnp.ones((5, 10)))).lower().count("highest") >= 6


def test_halves_of_16_bits_are_added_up_in_32():
    # bfloat16 has 8 bits: 257 ones would stay at 256.
    for rows, expected in ((2 * 257, 514), (2 * 257 + 1, 515)):
        ones = jnp.ones((rows, 1), jnp.bfloat16)
        result = products._in_halves(ones, ones, None)
        assert result.dtype == jnp.bfloat16
        assert float(result[0, 0]) == float(jnp.bfloat16(expected))


def test_the_layer_is_the_one_of_flax(rng):
    x, kernel, _ = drawn(rng, TALL, 6, 3)
    bias = jnp.asarray([1.0, -2.0, 0.5])
    layer, plain = nn.Dense(3, dot_general=ops.dot_general), nn.Dense(3)

    def loss(layer, kernel):
        return jnp.sum(jnp.square(layer.apply({"params": {"kernel": kernel, "bias": bias}}, x)))

    np.testing.assert_array_equal(
        jax.grad(lambda k: loss(layer, k))(kernel), jax.grad(lambda k: loss(plain, k))(kernel)
    )


@pytest.mark.parametrize(
    ("x", "kernel", "dimensions"),
    [
        ((TALL, 3), (2, 3), (((1,), (1,)), ((), ()))),  # a kernel turned round
        ((TALL, 2, 3), (3, 2), (((2,), (0,)), ((), ()))),  # images of rows
        ((TALL - 1, 3), (3, 2), (((1,), (0,)), ((), ()))),  # few rows
        ((5, 39), (39, 10), (((1,), (0,)), ((), ()))),  # and not four times the inputs
        ((5, 200), (200, 33), (((1,), (0,)), ((), ()))),  # many features
        ((TALL, 300), (300, 300), (((1,), (0,)), ((), ()))),  # a large kernel
        ((3, TALL), (3, 2), (((0,), (0,)), ((), ()))),
        ((2, TALL, 3), (3, 2), (((2,), (0,)), ((), ()))),
        ((2, TALL, 3), (2, 3, 2), (((2,), (1,)), ((0,), (0,)))),
    ],
)
def test_anything_else_is_left_to_lax(x, kernel, dimensions):
    arguments = [jax.ShapeDtypeStruct(shape, np.float32) for shape in (x, kernel)]
    assert traced(ops.dot_general, arguments, dimensions, precision="highest") == traced(
        lax.dot_general, arguments, dimensions, precision="highest"
    )


def traced(dot_general, arguments, dimensions, **options):
    return str(jax.make_jaxpr(lambda a, b: dot_general(a, b, dimensions, **options))(*arguments))


@pytest.mark.parametrize(
    ("dtypes", "options"),
    [
        (("int32", "int32"), {}),
        (("float32", "bfloat16"), {}),
        (("bfloat16", "bfloat16"), {"preferred_element_type": jnp.float32}),
        (("float32", "float32"), {"out_sharding": None}),
    ],
    ids=str,
)
def test_other_types_are_left_to_lax(dtypes, options):
    shapes, dimensions = ((TALL, 3), (3, 2)), (((1,), (0,)), ((), ()))
    arguments = [
        jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in zip(shapes, dtypes, strict=True)
    ]
    theirs = traced(lax.dot_general, arguments, dimensions, **options)
    ours = traced(ops.dot_general, arguments, dimensions, **options)
    # What is said to be nothing is no other product.
    assert (ours == theirs) == ("out_sharding" not in options)


@pytest.mark.parametrize("precision", [lax.Precision.HIGHEST, lax.Precision.HIGH])
def test_every_product_has_the_precision_that_is_asked_for(precision):
    arguments = [jax.ShapeDtypeStruct(s, np.float32) for s in ((TALL, 6), (6, 3), (TALL, 3))]

    def asked(x, kernel, dy):
        return gradients(x, kernel, dy, functools.partial(ops.dot_general, precision=precision))

    for platform in ("cpu", "cuda"):
        exported = jax.export.export(jax.jit(asked), platforms=[platform])(*arguments)
        text = exported.mlir_module()
        assert text.count("stablehlo.dot_general") == 3
        assert text.count(f"precision = [{precision}, {precision}]") == 3


def test_accelerators_are_given_the_plain_products():
    shapes = ((TALL, 6), (6, 3), (TALL, 3))
    arguments = [jax.ShapeDtypeStruct(shape, np.float32) for shape in shapes]

    def operations(platform, dot_general):
        program = jax.jit(functools.partial(gradients, dot_general=dot_general))
        text = jax.export.export(program, platforms=[platform])(*arguments).mlir_module()
        counted = ("dot_general", "optimization_barrier", "reduce", "reshape")
        return [text.count(f"stablehlo.{name}") for name in counted]

    for platform in ("cuda", "tpu"):
        assert operations(platform, ops.dot_general) == operations(platform, lax.dot_general)
    assert operations("cpu", ops.dot_general) == [3, 1, 1, 2]


def test_a_width_may_be_a_symbol():
    rows, inputs = jax.export.symbolic_shape("n, d")
    arguments = [jax.ShapeDtypeStruct(s, np.float32) for s in ((rows, inputs), (inputs, 10))]
    program = jax.jit(functools.partial(product, ops.dot_general))
    text = jax.export.export(program)(*arguments).mlir_module()
    assert text.count("stablehlo.dot_general") == 1


SHARDED = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from jaxcv import ops

def loss(kernels, x):
    y = ops.conv2d(x, kernels[0])
    flat = y.reshape(len(y), -1)
    return jnp.sum(jnp.sin(ops.dot_general(flat, kernels[1], (((1,), (0,)), ((), ())))))

rng = np.random.default_rng(0)
for rows in (8, 4096):
    x = jnp.asarray(rng.integers(-2, 3, (rows, 4, 4, 1)), jnp.float32)
    kernels = (jnp.ones((3, 3, 1, 2)), jnp.asarray(rng.integers(-1, 2, (32, 3)), jnp.float32))
    expected = jax.grad(loss)(kernels, x)

    def same(got):
        for a, b in zip(got, expected):
            assert np.allclose(a, b, rtol=1e-3, atol=1e-3 * np.abs(b).max()), (rows, a, b)

    mesh = jax.make_mesh((4,), ("b",), axis_types=(AxisType.Auto,))
    total = lambda k, x: jax.lax.psum(loss(k, x), "b")
    mapped = jax.shard_map(total, mesh=mesh, in_specs=(P(), P("b")), out_specs=P())
    same(jax.jit(jax.grad(mapped))(kernels, x))
    shared = jax.device_put(x, NamedSharding(mesh, P("b")))
    same(jax.jit(jax.grad(loss))(kernels, shared))
    same(jax.grad(loss)(kernels, shared))
    mesh = jax.make_mesh((4,), ("b",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        explicit = jax.device_put(np.asarray(x), NamedSharding(mesh, P("b")))
        everywhere = jax.device_put(jax.device_get(kernels), NamedSharding(mesh, P()))
        same(jax.jit(jax.grad(loss))(everywhere, explicit))
"""


def test_devices_may_share_the_rows_in_any_way():
    variables = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    run = subprocess.run(
        [sys.executable, "-c", SHARDED], env=variables, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("rows", ["1", "128", "n"])
def test_the_gradient_of_few_features_is_turned_round_on_cpu_alone(rows):
    (rows,) = jax.export.symbolic_shape(rows)
    arguments = [jax.ShapeDtypeStruct(s, np.float32) for s in ((rows, 40), (40, 10), (rows, 10))]

    def barriers(platform):
        program = jax.jit(gradients)
        text = jax.export.export(program, platforms=[platform])(*arguments).mlir_module()
        assert text.count("stablehlo.dot_general") == 3
        return text.count("stablehlo.optimization_barrier")

    assert [barriers(platform) for platform in ("cpu", "cuda", "tpu")] == [1, 0, 0]
