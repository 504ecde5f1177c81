import os
import subprocess
import sys
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcv import reference
from jaxcv.layers import BatchNorm, batch_norm
from jaxcv.verification.bounds import gamma
from jaxcv.verification.cases.normalization import Standardized
from jaxcv.verification.running_error import Bounded
from tests.agreement import assert_within, wide

EPSILON = 1e-3


def ours(x, scale=None, bias=None, **settings):
    """`batch_norm` by the batch's statistics, from fresh running ones."""
    channels = x.shape[-1]
    start = jnp.zeros(channels), jnp.ones(channels)
    return jax.jit(lambda x: batch_norm(x, scale, bias, *start, **settings))(jnp.asarray(x))


def expected(x):
    """What `batch_norm` without scale and bias must be."""
    value, *_ = reference.batch_norm(x, None, None)
    return Bounded(value, Standardized(wide(x), tuple(range(x.ndim - 1)), EPSILON).z.error)


def test_by_hand():
    """Deviations ∓1 and ∓3 with ε = 0: ±1, then scale and bias; a tenth of the way to them."""
    x = jnp.asarray([[1.0, 10.0], [3.0, 4.0]])
    y, mean, var = batch_norm(
        x,
        jnp.asarray([2.0, 3.0]),
        jnp.asarray([0.5, -1.0]),
        jnp.asarray([1.0, -3.0]),
        jnp.asarray([2.0, 4.0]),
        momentum=0.9,
        epsilon=0.0,
    )
    np.testing.assert_allclose(y, [[-1.5, 2.0], [2.5, -4.0]], rtol=1e-6)
    np.testing.assert_allclose(mean, [0.9 * 1 + 0.1 * 2, 0.9 * -3 + 0.1 * 7], rtol=1e-6)
    np.testing.assert_allclose(var, [0.9 * 2 + 0.1 * 1, 0.9 * 4 + 0.1 * 9], rtol=1e-6)


def test_defaults_are_those_of_the_reference(rng):
    x = rng.standard_normal((5, 3)).astype(np.float32)
    mean, var = np.full(3, 7.0), np.full(3, 5.0)
    got = batch_norm(jnp.asarray(x), None, None, jnp.asarray(mean), jnp.asarray(var))
    for result, wanted in zip(got, reference.batch_norm(x, None, None, mean, var), strict=True):
        np.testing.assert_allclose(result, wanted, rtol=1e-5, atol=1e-6)
    narrow = 1e-3 * x  # whose variance is no larger than ε
    y, *_ = batch_norm(jnp.asarray(narrow), None, None, jnp.asarray(mean), jnp.asarray(var))
    np.testing.assert_allclose(y, reference.batch_norm(narrow, None, None)[0], rtol=1e-3)


@pytest.mark.parametrize("offset", [1e3, -1e4])
def test_a_large_offset_costs_no_digits(rng, offset):
    """E[x²] − E[x]² would leave nothing: x² has 24 bits, of which the variance is the last."""
    x = (rng.standard_normal((16, 4, 4, 3)) + offset).astype(np.float32)
    y, *_ = ours(x)
    assert_within(y, expected(x))
    np.testing.assert_allclose(y, expected(x).value, atol=2e-2)
    squares = np.mean(x**2, (0, 1, 2)) - np.mean(x, (0, 1, 2)) ** 2
    assert abs(squares - wide(x).var((0, 1, 2))).max() > 0.05  # float32 as it would go


@pytest.mark.parametrize("level", [0.0, 0.1, -3e4])
def test_a_constant_input_is_zero(level):
    x = np.full((4, 3, 3, 2), level, np.float32)
    y, mean, var = ours(x, momentum=0.0)
    # Deviations are the error of the mean; 1/√ε is 32.
    np.testing.assert_allclose(y, 0, atol=32 * gamma(36) * abs(level))
    np.testing.assert_allclose(mean, level, rtol=1e-6)
    assert (np.asarray(var) >= 0).all()
    np.testing.assert_allclose(var, 0, atol=1e-5 + (1e-6 * level) ** 2)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 4), (1, 1, 1, 5)])
def test_one_element_a_channel_has_no_deviation(rng, shape):
    """The output is the bias, the gradient nothing."""
    x = rng.standard_normal(shape).astype(np.float32)
    bias = jnp.arange(1.0, shape[-1] + 1)
    y, *_ = ours(x, jnp.full(shape[-1:], 3.0), bias)
    np.testing.assert_array_equal(y, np.broadcast_to(bias, shape))
    gradient = jax.grad(lambda x: ours(x)[0].sum())(jnp.asarray(x))
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize("shape", [(0, 3), (2, 0, 3), (0, 4, 4, 1)])
@pytest.mark.parametrize("training", [True, False])
def test_an_empty_batch_is_refused(shape, training):
    with pytest.raises(ValueError, match="batch_norm needs at least one element, got the shape"):
        ours(np.zeros(shape, np.float32), training=training)


def test_evaluation_leaves_the_statistics_and_never_mixes_examples(rng):
    x = jnp.asarray(rng.standard_normal((6, 2, 3)), jnp.float32)
    mean, var = jnp.asarray([1.0, 2.0, 3.0]), jnp.asarray([4.0, 9.0, 16.0])
    together, new_mean, new_var = batch_norm(x, None, None, mean, var, training=False)
    np.testing.assert_array_equal(new_mean, mean)
    np.testing.assert_array_equal(new_var, var)
    alone, *_ = batch_norm(x[2:3], None, None, mean, var, training=False)
    np.testing.assert_array_equal(alone, together[2:3])
    np.testing.assert_allclose(together, (x - mean) / np.sqrt(var + 1e-3), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_rounded_once(rng, dtype):
    """Statistics of 4,096 numbers around 100: in 16 bits neither sum nor square would do."""
    x = jnp.asarray(rng.standard_normal((16, 16, 16, 2)) + 100, dtype)
    y, mean, var = ours(x, momentum=0.0)
    assert (y.dtype, mean.dtype, var.dtype) == (x.dtype, jnp.float32, jnp.float32)
    assert_within(y, expected(np.asarray(x)))
    np.testing.assert_allclose(mean, wide(x).mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(var, wide(x).var((0, 1, 2)), rtol=1e-4)
    evaluated, *_ = batch_norm(x, None, None, mean, var, training=False)
    assert evaluated.dtype == x.dtype
    np.testing.assert_array_equal(evaluated, y)
    # ± 1 and its gradient: the parts of dx cancel, and are added up before they are rounded.
    gradient = jax.grad(lambda x: (ours(x)[0].astype(jnp.float32) ** 2).sum())(x)
    assert gradient.dtype == x.dtype


def test_the_gradient_of_a_scale_is_of_its_type(rng):
    x = jnp.asarray(rng.standard_normal((8, 3)), jnp.float32)
    scale, bias = jnp.ones(3, jnp.bfloat16), jnp.zeros(3, jnp.bfloat16)
    start = jnp.zeros(3), jnp.ones(3)
    _, pull = jax.vjp(lambda s, b: batch_norm(x, s, b, *start)[0], scale, bias)
    dscale, dbias = pull(x)
    assert (dscale.dtype, dbias.dtype) == (jnp.bfloat16, jnp.bfloat16)


def test_double_precision_stays(rng):
    with jax.enable_x64(True):
        x = rng.standard_normal((5, 3))
        y, mean, var = ours(x, momentum=0.0)
        assert (y.dtype, mean.dtype, var.dtype) == (jnp.float64,) * 3
        np.testing.assert_allclose(y, reference.batch_norm(x, None, None)[0], rtol=1e-12)
        single = jnp.zeros(3, jnp.float32), jnp.ones(3, jnp.float32)
        # Statistics keep the type that they are given in, from one step to the next.
        y, mean, var = batch_norm(jnp.asarray(x), None, None, *single)
        assert (y.dtype, mean.dtype, var.dtype) == (jnp.float64, jnp.float32, jnp.float32)
        evaluated, *_ = batch_norm(jnp.asarray(x), None, None, *single, training=False)
        assert evaluated.dtype == jnp.float64
        # ε is added in float32, the rest is not rounded to it.
        np.testing.assert_allclose(evaluated, x / np.sqrt(1 + 1e-3), rtol=1e-7)
        assert not np.array_equal(evaluated, evaluated.astype(np.float32))


def test_momentum_and_epsilon_may_be_traced(rng):
    x = jnp.asarray(rng.standard_normal((5, 3)), jnp.float32)
    start = jnp.zeros(3), jnp.ones(3)

    @jax.jit
    @chex.assert_max_traces(n=1)
    def traced(momentum, epsilon):
        return batch_norm(x, None, None, *start, momentum=momentum, epsilon=epsilon)

    for momentum, epsilon in ((0.5, 1e-3), (0.9, 1.0)):
        chex.assert_trees_all_close(
            traced(jnp.float32(momentum), jnp.float32(epsilon)),
            batch_norm(x, None, None, *start, momentum=momentum, epsilon=epsilon),
            rtol=1e-5,
        )


# The module, against Flax's.

FLAX = {"momentum": 0.8, "epsilon": 1e-2, "use_fast_variance": False}


def variables_of(rng, channels, use_scale=True, use_bias=True):
    params = {
        name: jnp.asarray(rng.uniform(0.5, 2, channels), jnp.float32)
        for name, used in (("scale", use_scale), ("bias", use_bias))
        if used
    }
    statistics = {
        "mean": jnp.asarray(rng.standard_normal(channels), jnp.float32),
        "var": jnp.asarray(rng.uniform(1, 2, channels), jnp.float32),
    }
    return {"params": params, "batch_stats": statistics}


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize(("use_scale", "use_bias"), [(True, True), (False, True), (True, False)])
def test_the_module_equals_flax(rng, train, use_scale, use_bias):
    x = jnp.asarray(rng.standard_normal((4, 5, 3, 6)) + 2, jnp.float32)
    dy = jnp.asarray(rng.standard_normal(x.shape), jnp.float32)
    variables = variables_of(rng, 6, use_scale, use_bias)
    used = {"use_scale": use_scale, "use_bias": use_bias}
    module = BatchNorm(momentum=0.8, epsilon=1e-2, **used)
    peer = nn.BatchNorm(use_running_average=not train, **used, **FLAX)

    def value_and_gradients(apply):
        def loss(params, x):
            y, changed = apply({**variables, "params": params}, x)
            return (y * dy).sum(), (y, changed)

        gradients, results = jax.jit(jax.grad(loss, (0, 1), has_aux=True))(variables["params"], x)
        return gradients, results

    got = value_and_gradients(lambda v, x: module.apply(v, x, train, mutable="batch_stats"))
    wanted = value_and_gradients(lambda v, x: peer.apply(v, x, mutable="batch_stats"))
    chex.assert_trees_all_close(got, wanted, rtol=2e-5, atol=2e-5)


def test_the_module_starts_as_flax_does():
    x = jnp.ones((2, 3, 4))
    got: Any = BatchNorm().init(jax.random.key(0), x, train=True)
    wanted = nn.BatchNorm(use_running_average=False).init(jax.random.key(0), x)
    chex.assert_trees_all_equal(got, wanted)
    assert got["batch_stats"]["mean"].tolist() == [0.0] * 4  # no step is taken while initialising
    half = BatchNorm().init(jax.random.key(0), x.astype(jnp.bfloat16), train=True)
    assert {leaf.dtype for leaf in jax.tree.leaves(half)} == {jnp.dtype("float32")}
    with jax.enable_x64(True):
        double = BatchNorm().init(jax.random.key(0), jnp.ones((2, 3), jnp.float64), train=True)
        assert {leaf.dtype for leaf in jax.tree.leaves(double)} == {jnp.dtype("float64")}


def test_only_training_moves_the_statistics(rng):
    x = jnp.asarray(rng.standard_normal((4, 3)), jnp.float32)
    variables = variables_of(rng, 3)
    module = BatchNorm()
    changed: Any = module.apply(variables, x, train=True, mutable=["batch_stats"])[1]
    assert not np.array_equal(changed["batch_stats"]["mean"], variables["batch_stats"]["mean"])
    # In evaluation nothing needs to be mutable at all.
    module.apply(variables, x, train=False)
    _, kept = module.apply(variables, x, train=False, mutable=["batch_stats"])
    chex.assert_trees_all_equal(kept["batch_stats"], variables["batch_stats"])


def test_the_modules_numbers_are_the_functions():
    module = BatchNorm()
    assert (module.momentum, module.epsilon, module.use_scale, module.use_bias) == (
        0.99,
        1e-3,
        True,
        True,
    )


def test_the_gradients_are_those_that_autodiff_derives(rng):
    """Of every argument, ε included, and of the running statistics too."""

    def plain(x, scale, bias, epsilon):
        mean, var = jnp.mean(x, (0, 1, 2)), jnp.var(x, (0, 1, 2))
        y = (x - mean) / jnp.sqrt(var + epsilon) * scale + bias
        return y, 0.99 * start[0] + 0.01 * mean, 0.99 * start[1] + 0.01 * var

    def ours(x, scale, bias, epsilon):
        return batch_norm(x, scale, bias, *start, epsilon=epsilon)

    with jax.enable_x64(True):
        start = jnp.zeros(3), jnp.ones(3)
        x, dy = (jnp.asarray(rng.standard_normal((4, 5, 2, 3))) for _ in range(2))
        scale, bias, dmean, dvar = (jnp.asarray(rng.standard_normal(3)) for _ in range(4))
        arguments = x, scale, bias, jnp.asarray(0.1)
        got = jax.vjp(ours, *arguments)[1]((dy, dmean, dvar))
        expected = jax.vjp(plain, *arguments)[1]((dy, dmean, dvar))
        chex.assert_trees_all_close(got, expected, rtol=1e-12, atol=1e-13)


def test_what_the_gradient_is_given_and_gives_is_computed_once(rng):
    """Two sums and the result are made of what is given, a convolution's two gradients of that."""
    x, dy = (jnp.asarray(rng.standard_normal((8, 16, 8, 6)), jnp.float32) for _ in range(2))

    def program(x, dy):
        def normalized(x):
            return batch_norm(x, None, None, jnp.zeros(6), jnp.ones(6))[0]

        (dx,) = jax.vjp(normalized, x)[1](jnp.sin(dy))
        return jnp.sum(dx, axis=0), jnp.sum(dx * x, axis=1), dx[::2].T

    text = jax.jit(program).lower(x, dy).compile().as_text()
    assert text is not None
    assert text.count(" sine(") == 1
    # Sums of the mean, the variance and both gradients, the mean laid out as a row is, what is
    # given and what is given back.
    assert text.count(" call(") == 4 + 1 + 2


SHARDED = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from jaxcv.layers import batch_norm

def normalized(x):
    return batch_norm(x, None, None, jnp.zeros(6), jnp.ones(6))[0]

def loss(x):
    return jnp.sum(jnp.sin(normalized(x)))

rng = np.random.default_rng(0)
for shape in ((8, 6, 5, 6), (20, 7, 7, 6), (8, 5, 4, 6), (8, 6, 6)):
    x = jnp.asarray(rng.standard_normal(shape), jnp.float32)
    expected = normalized(x), jax.grad(loss)(x)

    def same(got):
        for a, b in zip(got, expected):
            assert np.allclose(a, b, rtol=1e-4, atol=1e-5), (shape, a, b)

    mesh = jax.make_mesh((4,), ("b",), axis_types=(AxisType.Auto,))
    shared = jax.device_put(x, NamedSharding(mesh, P("b")))
    same((normalized(shared), jax.grad(loss)(shared)))
    compiled = jax.jit(jax.grad(loss)).lower(shared).compile()
    assert "all-gather" not in compiled.as_text(), shape
    same((jax.jit(normalized)(shared), compiled(shared)))
    mesh = jax.make_mesh((4,), ("b",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        explicit = jax.device_put(np.asarray(x), NamedSharding(mesh, P("b")))
        same((jax.jit(normalized)(explicit),))
"""


def test_devices_may_share_the_batch_whatever_an_images_size():
    """Each sums its own images, and hears of the others' only their sums."""
    variables = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    run = subprocess.run(
        [sys.executable, "-c", SHARDED], env=variables, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr
