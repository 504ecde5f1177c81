import math

import numpy as np
import pytest

from jaxcv.reference import (
    kl_sparsity,
    kl_sparsity_backward,
    kl_sparsity_from_logits,
    kl_sparsity_from_logits_backward,
    l2_penalty,
    l2_penalty_backward,
    sigmoid,
)


def test_l2(assert_gradients):
    assert l2_penalty([[3.0, -4.0]], 0.1) == pytest.approx(0.05 * 25)
    w = np.random.default_rng(0).normal(size=(3, 2, 2))
    gradient = l2_penalty_backward(-2.0, w, 0.3)
    assert_gradients(lambda w: l2_penalty(w, 0.3), (w,), (gradient,), -2.0)
    assert l2_penalty(w, 0) == 0.0


def test_kl_by_hand():
    # Means 0.2 and 0.05 against 0.05: the second costs nothing.
    activations = [[0.1, 0.02], [0.3, 0.08]]
    expected = 0.05 * math.log(0.05 / 0.2) + 0.95 * math.log(0.95 / 0.8)
    assert kl_sparsity(activations, 0.05) == pytest.approx(expected, rel=1e-12)


def test_kl_gradients(assert_gradients):
    rng = np.random.default_rng(0)
    activations, logits = rng.uniform(0.1, 0.9, (5, 3)), 2 * rng.normal(size=(5, 3))
    gradient = kl_sparsity_backward(1.7, activations, 0.05)
    assert_gradients(lambda a: kl_sparsity(a, 0.05), (activations,), (gradient,), 1.7)
    gradient = kl_sparsity_from_logits_backward(1.7, logits, 0.05)
    assert_gradients(lambda z: kl_sparsity_from_logits(z, 0.05), (logits,), (gradient,), 1.7)


def test_both_forms_agree():
    logits = 2 * np.random.default_rng(0).normal(size=(6, 4))
    a = sigmoid(logits)
    assert kl_sparsity_from_logits(logits, 0.1) == pytest.approx(kl_sparsity(a, 0.1), rel=1e-12)
    np.testing.assert_allclose(
        kl_sparsity_from_logits_backward(1.0, logits, 0.1),
        kl_sparsity_backward(1.0, a, 0.1) * a * (1 - a),
        rtol=1e-10,
    )


@pytest.mark.parametrize("level", [40.0, 800.0, 1e4, -40.0, -800.0, -1e4])
def test_saturated_units_keep_a_finite_cost_and_a_way_back(level):
    logits = np.full((3, 2), level)
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        cost = kl_sparsity_from_logits(logits, 0.05)
        gradient = kl_sparsity_from_logits_backward(1.0, logits, 0.05)
    # Far out KL tends to (1 - t) |z| or t |z| plus t log t + (1 - t) log(1 - t), per unit.
    slope = 0.95 if level > 0 else -0.05
    entropy = 0.05 * math.log(0.05) + 0.95 * math.log(0.95)
    assert cost == pytest.approx(2 * (slope * level + entropy), rel=1e-12)
    np.testing.assert_allclose(gradient, slope / 3, rtol=1e-12)


def test_kl_is_least_at_the_target():
    logits = np.full((4, 2), math.log(0.05 / 0.95))
    assert kl_sparsity_from_logits(logits, 0.05) == pytest.approx(0.0, abs=1e-15)
    np.testing.assert_allclose(kl_sparsity_from_logits_backward(1.0, logits, 0.05), 0, atol=1e-16)


A = np.full((2, 2), 0.5)


@pytest.mark.parametrize("target", [0.0, 1.0, -0.1, math.nan])
def test_refuses_targets(target):
    message = "target sparsity must lie strictly between 0 and 1"
    for function in (kl_sparsity, kl_sparsity_from_logits):
        with pytest.raises(ValueError, match=message):
            function(A, target)
    for function in (kl_sparsity_backward, kl_sparsity_from_logits_backward):
        with pytest.raises(ValueError, match=message):
            function(1.0, A, target)


def test_refuses():
    for wrong in ([[0.0, 0.5]], [[0.5, 1.0]], [[-0.1, 0.5]], [[0.5, 1.1]]):
        with pytest.raises(ValueError, match="mean activation of every unit must lie strictly"):
            kl_sparsity(wrong, 0.05)
    for function in (kl_sparsity, kl_sparsity_from_logits):
        with pytest.raises(ValueError, match="must have axes"):
            function(A[0], 0.05)
        with pytest.raises(ValueError, match="must not be empty"):
            function(A[:0], 0.05)
    for strength in (-0.1, math.nan):
        with pytest.raises(ValueError, match="strength of a penalty must not be negative"):
            l2_penalty(A, strength)
        with pytest.raises(ValueError, match="strength of a penalty must not be negative"):
            l2_penalty_backward(1.0, A, strength)
