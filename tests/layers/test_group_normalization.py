import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcv import reference
from jaxcv.layers import GroupNorm, LayerNorm, batch_norm, group_norm, layer_norm
from jaxcv.verification.cases.normalization import Standardized
from jaxcv.verification.running_error import Bounded
from tests.agreement import assert_within, wide

EPSILON = 1e-5


def test_groups_by_hand():
    """Of channels 1, 3 | 10, 30, with ε = 0: each group is ∓1."""
    x = jnp.asarray([[[1.0, 3.0, 10.0, 30.0]]])
    scale, bias = jnp.asarray([1.0, 2.0, 3.0, 4.0]), jnp.asarray([0.0, 0.0, 5.0, 5.0])
    y = group_norm(x, scale, bias, groups=2, epsilon=0.0)
    np.testing.assert_allclose(y, [[[-1.0, 2.0, 2.0, 9.0]]], rtol=1e-6)
    both = group_norm(x, None, None, groups=1, epsilon=0.0)
    np.testing.assert_allclose(both, layer_norm(x, None, None, epsilon=0.0), rtol=1e-6)


def test_groups_of_all_and_of_one(rng):
    """One group is layer normalisation of the whole image, one a channel is batch of one."""
    x = jnp.asarray(rng.standard_normal((2, 3, 4, 6)), jnp.float32)
    whole = group_norm(x, None, None, groups=1)
    flat = layer_norm(x.reshape(2, -1), None, None).reshape(x.shape)
    np.testing.assert_allclose(whole, flat, rtol=1e-5, atol=1e-6)
    instance = group_norm(x, None, None, groups=6, epsilon=1e-3)
    start = jnp.zeros(6), jnp.ones(6)
    for i in range(2):
        alone, *_ = batch_norm(x[i : i + 1], None, None, *start)
        np.testing.assert_allclose(instance[i : i + 1], alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_defaults_are_those_of_the_reference(rng, scale):
    """Also where the variance is no larger than ε."""
    x = scale * rng.standard_normal((2, 3, 4)).astype(np.float32)
    got = group_norm(jnp.asarray(x), None, None, 2)
    np.testing.assert_allclose(got, reference.group_norm(x, None, None, 2), rtol=1e-3, atol=1e-6)
    got = layer_norm(jnp.asarray(x), None, None)
    np.testing.assert_allclose(got, reference.layer_norm(x, None, None), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("offset", [1e3, -1e4])
def test_a_large_offset_costs_no_digits(rng, offset):
    x = (rng.standard_normal((3, 4, 5, 6)) + offset).astype(np.float32)
    split = x.reshape(3, 4, 5, 2, 3)
    z = Standardized(wide(split), (1, 2, 4), EPSILON).z
    got = group_norm(jnp.asarray(x), None, None, 2)
    assert_within(got, Bounded(reference.group_norm(x, None, None, 2), z.error.reshape(x.shape)))
    flat = x.reshape(3, -1)
    z = Standardized(wide(flat), (1,), EPSILON).z
    got = layer_norm(jnp.asarray(flat), None, None)
    assert_within(got, Bounded(reference.layer_norm(flat, None, None), z.error))


@pytest.mark.parametrize("shape", [(2, 3, 3, 4), (1, 1, 1, 2)])
def test_a_constant_input_is_the_bias(shape):
    x, bias = jnp.full(shape, 0.5), jnp.arange(1.0, shape[-1] + 1)
    scale = jnp.full(shape[-1:], 3.0)
    np.testing.assert_array_equal(group_norm(x, scale, bias, 2), np.broadcast_to(bias, shape))
    np.testing.assert_array_equal(layer_norm(x, scale, bias), np.broadcast_to(bias, shape))


def test_examples_never_mix(rng):
    x = jnp.asarray(rng.standard_normal((4, 3, 6)), jnp.float32)
    other = x.at[1:].add(100.0)
    np.testing.assert_array_equal(
        group_norm(x, None, None, 3)[0], group_norm(other, None, None, 3)[0]
    )
    np.testing.assert_array_equal(layer_norm(x, None, None)[0], layer_norm(other, None, None)[0])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_rounded_once(rng, dtype):
    x = jnp.asarray(rng.standard_normal((2, 16, 16, 4)) + 100, dtype)
    y = jax.jit(lambda x: group_norm(x, None, None, 2))(x)
    assert y.dtype == x.dtype
    split = wide(x).reshape(2, 16, 16, 2, 2)
    z = Standardized(split, (1, 2, 4), EPSILON).z
    assert_within(
        y, Bounded(reference.group_norm(wide(x), None, None, 2), z.error.reshape(x.shape))
    )
    y = layer_norm(x, jnp.ones(4), None)
    assert y.dtype == x.dtype
    z = Standardized(wide(x), (3,), EPSILON).z
    assert_within(y, Bounded(reference.layer_norm(wide(x), None, None), 1.001 * z.error))


@pytest.mark.parametrize("shape", [(0, 4), (2, 0, 4)])
def test_an_empty_batch_is_refused(shape):
    with pytest.raises(ValueError, match="group_norm needs at least one element"):
        group_norm(jnp.zeros(shape), None, None, 2)
    with pytest.raises(ValueError, match="layer_norm needs at least one element"):
        layer_norm(jnp.zeros(shape), None, None)


@pytest.mark.parametrize("groups", [0, -1, 4, 12])
def test_groups_must_divide_the_channels(groups):
    with pytest.raises(ValueError, match=f"groups must divide the 6 channels, got {groups}"):
        group_norm(jnp.ones((2, 6)), None, None, groups)


# The modules, against Flax's.

USED = [(True, True), (False, True), (True, False)]


def compare(module, peer, x, rng):
    """Output and gradients of x and parameters, of two modules with the same parameters."""
    start = peer.init(jax.random.key(0), x)
    chex.assert_trees_all_equal(module.init(jax.random.key(0), x), start)
    params = jax.tree.map(lambda p: p + jnp.asarray(rng.uniform(0, 1, p.shape), p.dtype), start)
    dy = jnp.asarray(rng.standard_normal(x.shape), x.dtype)

    def value_and_gradients(apply):
        def loss(params, x):
            y = apply(params, x)
            return (y * dy).sum(), y

        return jax.jit(jax.grad(loss, (0, 1), has_aux=True))(params, x)

    chex.assert_trees_all_close(
        value_and_gradients(module.apply), value_and_gradients(peer.apply), rtol=2e-5, atol=2e-5
    )


@pytest.mark.parametrize(("use_scale", "use_bias"), USED)
def test_group_norm_equals_flax(rng, use_scale, use_bias):
    x = jnp.asarray(rng.standard_normal((2, 3, 4, 6)) + 2, jnp.float32)
    used = {"epsilon": 1e-2, "use_scale": use_scale, "use_bias": use_bias}
    peer = nn.GroupNorm(num_groups=3, use_fast_variance=False, **used)
    compare(GroupNorm(groups=3, **used), peer, x, rng)


@pytest.mark.parametrize(("use_scale", "use_bias"), USED)
def test_layer_norm_equals_flax(rng, use_scale, use_bias):
    x = jnp.asarray(rng.standard_normal((2, 3, 4, 6)) + 2, jnp.float32)
    used = {"epsilon": 1e-2, "use_scale": use_scale, "use_bias": use_bias}
    compare(LayerNorm(**used), nn.LayerNorm(use_fast_variance=False, **used), x, rng)


def test_the_modules_numbers_are_the_functions():
    group, layer = GroupNorm(), LayerNorm()
    assert (group.groups, group.epsilon, group.use_scale, group.use_bias) == (32, 1e-5, True, True)
    assert (layer.epsilon, layer.use_scale, layer.use_bias) == (1e-5, True, True)


@pytest.mark.parametrize("module", [GroupNorm(groups=2), LayerNorm()])
def test_parameters_are_in_float32_at_least(module):
    half = module.init(jax.random.key(0), jnp.ones((2, 4), jnp.bfloat16))
    assert {leaf.dtype for leaf in jax.tree.leaves(half)} == {jnp.dtype("float32")}
    with jax.enable_x64(True):
        double = module.init(jax.random.key(0), jnp.ones((2, 4), jnp.float64))
        assert {leaf.dtype for leaf in jax.tree.leaves(double)} == {jnp.dtype("float64")}
