import math
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcv import reference
from jaxcv.layers import Dropout, dropout, dropout_mask

SHAPE = (32, 32, 16, 4)


def drawn(shape):
    return jnp.asarray(np.random.default_rng(0).standard_normal(shape), jnp.float32)


def test_by_hand():
    y = dropout(jnp.asarray([1.0, 2.0, 3.0]), jnp.asarray([True, False, True]), 0.75)
    np.testing.assert_array_equal(y, [4.0, 0.0, 12.0])


def test_nothing_is_dropped_at_rate_0():
    x = drawn(SHAPE)
    mask = dropout_mask(jax.random.key(1), SHAPE, 0.0)
    assert mask.all()
    np.testing.assert_array_equal(dropout(x, mask, 0.0), x)


def test_all_is_dropped_at_rate_1():
    x = jnp.asarray([0.0, 1.0, -3e38, jnp.inf])
    assert not dropout_mask(jax.random.key(1), SHAPE, 1.0).any()
    for mask in (jnp.zeros(4, bool), jnp.ones(4, bool)):
        np.testing.assert_array_equal(dropout(x, mask, 1.0), 0)
        gradient = jax.grad(lambda x, mask=mask: dropout(x, mask, 1.0)[:3].sum())(x)
        np.testing.assert_array_equal(gradient, 0)


def test_one_compilation_serves_every_rate():
    x = drawn((50, 20))

    @jax.jit
    @chex.assert_max_traces(n=1)
    def both(key, rate):
        mask = dropout_mask(key, x.shape, rate)
        return mask, *jax.value_and_grad(lambda x: dropout(x, mask, rate).sum())(x)

    for i, rate in enumerate((0.0, 0.3, 0.5, 0.999, 1.0)):
        mask, total, gradient = both(jax.random.key(i), jnp.float32(rate))
        wanted = reference.dropout(x, mask, float(np.float32(rate)))
        assert float(total) == pytest.approx(wanted.sum(), rel=1e-4, abs=1e-3)
        wanted = reference.dropout_backward(np.ones(x.shape), mask, float(np.float32(rate)))
        np.testing.assert_allclose(gradient, wanted, rtol=1e-6)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_mask_keeps_each_element_by_itself(rate):
    """Counts, pairs of neighbours, and pairs of masks, within five deviations of chance."""
    mask = np.asarray(dropout_mask(jax.random.key(0), SHAPE, rate))
    assert mask.shape == SHAPE
    assert mask.dtype == bool
    keep, n = 1 - rate, mask.size
    assert abs(mask.mean() - keep) < 5 * math.sqrt(keep * rate / n)
    by_channel = mask.mean(axis=(0, 1, 2))
    assert np.abs(by_channel - keep).max() < 5 * math.sqrt(keep * rate * 4 / n)
    other = np.asarray(dropout_mask(jax.random.key(1), SHAPE, rate))
    pairs = [(mask, other), *((mask, np.roll(mask, 1, axis)) for axis in range(4))]
    for a, b in pairs:
        together = keep**2
        assert abs((a & b).mean() - together) < 5 * math.sqrt(together * (1 - together) * 3 / n)


def test_the_same_key_gives_the_same_mask():
    first, again, other = (dropout_mask(jax.random.key(i), SHAPE, 0.5) for i in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_higher_rate_drops_more_of_the_same():
    """One key's masks are nested: a sweep over rates compares like with like."""
    low, high = (dropout_mask(jax.random.key(0), SHAPE, rate) for rate in (0.2, 0.6))
    assert (low | ~high).all()


@pytest.mark.parametrize("rate", [0.2, 0.7])
def test_the_expected_value_stays(rate):
    x = jnp.full(SHAPE, 3.0)
    y = dropout(x, dropout_mask(jax.random.key(5), SHAPE, rate), rate)
    deviation = 3 * math.sqrt(rate / (1 - rate) / x.size)
    assert abs(float(np.asarray(y, np.float64).mean()) - 3) < 5 * deviation


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("rate", [0.1, 0.999])
def test_half_precision_is_rounded_once(dtype, rate):
    """In bfloat16 a rate of 0.999 would be 1, and 1 − 0.1 off by 0.2 %."""
    x = jnp.asarray([1.0, 2.5, -3.0], dtype)
    y = dropout(x, jnp.asarray([True, True, False]), rate)
    assert y.dtype == x.dtype
    wanted = np.asarray([1.0, 2.5, 0.0]) / (1 - rate)
    np.testing.assert_array_equal(y, jnp.asarray(wanted.astype(np.float32)).astype(dtype))


def test_a_rate_that_float32_rounds_to_1_drops_all():
    with jax.enable_x64(True):
        x = jnp.ones(3, jnp.float32)
        assert not dropout(x, jnp.ones(3, bool), jnp.float64(1 - 1e-9)).any()


@pytest.mark.parametrize(("shape", "mask"), [((2, 3), (3,)), ((2, 3), (3, 2)), ((0, 3), (0, 3))])
def test_what_does_not_fit_is_refused(shape, mask):
    with pytest.raises(ValueError, match="dropout needs"):
        dropout(jnp.zeros(shape), jnp.ones(mask, bool), 0.5)


# The module, against Flax's.


def test_the_module_is_the_function_of_its_own_mask():
    x = drawn((8, 5))
    module, key = Dropout(0.4), {"dropout": jax.random.key(7)}
    mask = np.asarray(module.apply({}, jnp.ones_like(x), train=True, rngs=key)) > 0
    assert 0 < mask.sum() < mask.size
    y: Any = module.apply({}, x, train=True, rngs=key)
    np.testing.assert_array_equal(y, dropout(x, jnp.asarray(mask), 0.4))
    other: Any = module.apply({}, x, train=True, rngs={"dropout": jax.random.key(8)})
    assert not np.array_equal(y, other)


def test_given_flaxs_mask_it_is_flaxs_dropout():
    x = drawn((40, 5))
    peer, key = nn.Dropout(0.3, deterministic=False), {"dropout": jax.random.key(7)}
    ones: Any = peer.apply({}, jnp.ones_like(x), rngs=key)
    mask = ones > 0
    wanted: Any = peer.apply({}, x, rngs=key)
    np.testing.assert_allclose(dropout(x, mask, 0.3), wanted, rtol=3e-7)
    pulled = jax.grad(lambda x: (peer.apply({}, x, rngs=key) * x).sum())(x)
    ours = jax.grad(lambda x: (dropout(x, mask, 0.3) * x).sum())(x)
    np.testing.assert_allclose(ours, pulled, rtol=1e-6)


def test_evaluation_needs_no_key_and_changes_nothing():
    x = drawn((8, 5))
    np.testing.assert_array_equal(Dropout(0.9).apply({}, x, train=False), x)


def test_the_modules_rate_may_be_traced():
    x = jnp.ones((30, 5))

    @jax.jit
    @chex.assert_max_traces(n=1)
    def apply(rate):
        return Dropout(rate).apply({}, x, train=True, rngs={"dropout": jax.random.key(1)})

    for rate in (0.2, 0.6):
        wanted: Any = Dropout(rate).apply({}, x, train=True, rngs={"dropout": jax.random.key(1)})
        np.testing.assert_allclose(apply(jnp.float32(rate)), wanted, rtol=1e-6)
