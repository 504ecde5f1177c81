import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv.losses import (
    CrossEntropy,
    SummedCrossEntropy,
    cross_entropy,
    cross_entropy_per_example,
    l2_penalty,
)


def numpy_cross_entropy(logits, labels, smoothing):
    """−Σ q log p in float64, with p and q written out."""
    z = np.asarray(logits, np.float64)
    z = z - z.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    classes = z.shape[1]
    q = np.full(z.shape, smoothing / classes)
    q[np.arange(len(z)), labels] += 1 - smoothing
    return -(q * log_p).sum(axis=1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_against_numpy(rng, smoothing, scale):
    logits = (scale * rng.standard_normal((17, 10))).astype(np.float32)
    labels = rng.integers(0, 10, 17)
    got = cross_entropy_per_example(jnp.asarray(logits), jnp.asarray(labels), smoothing)
    np.testing.assert_allclose(
        got, numpy_cross_entropy(logits, labels, smoothing), rtol=2e-5, atol=2e-6
    )
    mean = cross_entropy(jnp.asarray(logits), jnp.asarray(labels), smoothing)
    np.testing.assert_allclose(
        mean, numpy_cross_entropy(logits, labels, smoothing).mean(), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_huge_logits_keep_the_answer(smoothing):
    logits = np.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [1e4, 1e4, 1e4]], np.float32)
    labels = np.array([0, 0, 2])
    got = cross_entropy_per_example(jnp.asarray(logits), jnp.asarray(labels), smoothing)
    np.testing.assert_allclose(got, numpy_cross_entropy(logits, labels, smoothing), rtol=1e-6)
    gradient = jax.grad(lambda z: cross_entropy(z, jnp.asarray(labels), smoothing))(
        jnp.asarray(logits)
    )
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("classes", [1, 2, 10, 1000])
@pytest.mark.parametrize("level", [-1e4, 0.0, 3.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_equal_logits_cost_ln_of_the_classes(classes, level, smoothing):
    logits = jnp.full((2, classes), level, jnp.float32)
    assert float(cross_entropy(logits, jnp.zeros(2, int), smoothing)) == pytest.approx(
        math.log(classes), rel=1e-5, abs=1e-6
    )


def test_nothing_is_smoothed_unless_asked(rng):
    logits, labels = jnp.asarray(rng.standard_normal((4, 3)), jnp.float32), jnp.arange(4) % 3
    assert cross_entropy(logits, labels) == cross_entropy(logits, labels, 0.0)
    assert cross_entropy(logits, labels) != cross_entropy(logits, labels, 0.1)


def test_an_empty_batch_is_refused():
    with pytest.raises(ValueError, match="empty"):
        cross_entropy(jnp.zeros((0, 3)), jnp.zeros(0, int))


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_gradient_is_probabilities_minus_target(rng, smoothing):
    logits = rng.standard_normal((5, 4))
    labels = rng.integers(0, 4, 5)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    q = np.full(p.shape, smoothing / 4)
    q[np.arange(5), labels] += 1 - smoothing
    got = jax.grad(lambda z: cross_entropy(z, jnp.asarray(labels), smoothing))(
        jnp.asarray(logits, jnp.float32)
    )
    np.testing.assert_allclose(got, (p - q) / 5, atol=1e-6)


def test_the_penalty_counts_kernels_only(rng):
    kernel, other = rng.standard_normal((3, 4)), rng.standard_normal((2, 2, 3, 5))
    params = {
        "Dense_0": {"kernel": jnp.asarray(kernel), "bias": 1e3 * jnp.ones(4)},
        "Block": {"Conv_0": {"kernel": jnp.asarray(other)}, "kernel_scale": 1e3 * jnp.ones(4)},
        "BatchNorm_0": {"scale": 1e3 * jnp.ones(4)},
    }
    expected = 0.5 * (np.square(kernel).sum() + np.square(other).sum())
    assert float(l2_penalty(params)) == pytest.approx(expected, rel=1e-6)
    gradient = jax.grad(lambda p: 3.0 * l2_penalty(p))(params)
    np.testing.assert_allclose(gradient["Dense_0"]["kernel"], 3 * kernel, rtol=1e-6)
    assert not gradient["Dense_0"]["bias"].any()
    assert float(l2_penalty({"bias": jnp.ones(3)})) == 0.0


def test_totals_are_sums_and_a_mask_leaves_out(rng):
    logits = rng.standard_normal((6, 3)).astype(np.float32)
    labels = np.array([0, 1, 2, 0, 1, 2])
    images = jnp.zeros((6, 2, 2, 1))
    loss = CrossEntropy(label_smoothing=0.1)
    each = numpy_cross_entropy(logits, labels, 0.1)
    right = logits.argmax(axis=1) == labels
    whole = loss.totals(jnp.asarray(logits), images, jnp.asarray(labels), {})
    assert float(whole["loss"]) == pytest.approx(each.sum(), rel=1e-5)
    assert (int(whole["correct"]), int(whole["count"])) == (right.sum(), 6)
    mask = np.array([True, False, True, True, False, False])
    # What is left out may be anything.
    logits[~mask] = np.nan
    part = loss.totals(jnp.asarray(logits), images, jnp.asarray(labels), {}, jnp.asarray(mask))
    assert float(part["loss"]) == pytest.approx(each[mask].sum(), rel=1e-5)
    assert (int(part["correct"]), int(part["count"])) == (right[mask].sum(), 3)


def test_the_objective_is_the_mean_and_half_the_squared_kernels():
    totals = {"loss": jnp.float32(6.0), "correct": jnp.int32(1), "count": jnp.int32(4)}
    params = {"d": {"kernel": jnp.asarray([2.0, 1.0]), "bias": jnp.asarray([9.0])}}
    assert float(CrossEntropy().objective(totals, params)) == 1.5
    assert float(CrossEntropy(l2=0.1).objective(totals, params)) == pytest.approx(1.5 + 0.25)


def test_the_objective_may_be_the_sum():
    params = {"layer": {"kernel": jnp.asarray([1.0, 2.0]), "bias": jnp.asarray([9.0])}}
    totals = {"loss": jnp.float32(6.0), "count": jnp.int32(3)}
    assert float(SummedCrossEntropy(l2=0.2).objective(totals, params)) == pytest.approx(6.5)


def test_totals_of_two_batches_combine_to_those_of_both(rng):
    logits = jnp.asarray(rng.standard_normal((6, 3)), jnp.float32)
    labels = jnp.asarray([0, 1, 2, 0, 1, 2])
    images, loss = jnp.zeros((6, 2, 2, 1)), CrossEntropy(label_smoothing=0.1)
    parts = [loss.totals(logits[s], images[s], labels[s], {}) for s in (slice(4), slice(4, 6))]
    both = loss.combine(*parts)
    whole = loss.totals(logits, images, labels, {})
    assert float(both["loss"]) == pytest.approx(float(whole["loss"]), rel=1e-6)
    assert (int(both["correct"]), int(both["count"])) == (int(whole["correct"]), 6)


def test_metrics_of_known_totals():
    totals = {"loss": np.float32(46.0), "correct": np.int32(10), "count": np.int32(20)}
    got = CrossEntropy().metrics(totals)
    assert got == {"loss": pytest.approx(2.3), "accuracy": 0.5}
    assert {type(value) for value in got.values()} == {float}
    assert CrossEntropy().score.name in got


def test_divergence_stays_visible():
    loss = CrossEntropy()
    assert np.isnan(loss.metrics({"loss": np.float32(np.nan), "correct": 0, "count": 1})["loss"])
    assert loss.metrics({"loss": np.inf, "correct": 0, "count": 1})["loss"] == np.inf


def test_predictions_are_probabilities(rng):
    logits = rng.standard_normal((4, 3))
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    got = CrossEntropy().predictions(jnp.asarray(logits, jnp.float32))
    np.testing.assert_allclose(got, expected, rtol=1e-5)
