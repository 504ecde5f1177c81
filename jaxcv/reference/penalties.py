"""What is added to a loss: weight decay, and the sparsity of hidden units."""

import numpy as np
from jaxtyping import Float64

from jaxcv.reference.activations import log_sigmoid, sigmoid
from jaxcv.reference.arrays import Real, Values, as_float64


def l2_penalty(kernel: Values, strength: Real) -> float:
    """Strength / 2 times the sum of the squared weights.

    Args:
        kernel: Weights, any shape.
        strength: lambda; not negative.

    Raises:
        ValueError: No weights, or a negative strength.
    """
    kernel = as_float64(kernel, "kernel", "...")
    _require_strength(strength)
    return float(0.5 * strength * (kernel**2).sum())


def l2_penalty_backward(dy: Real, kernel: Values, strength: Real) -> Float64[np.ndarray, "..."]:
    """Gradient of `l2_penalty`: dy * strength * kernel, where dy is a scalar.

    Raises:
        ValueError: No weights, or a negative strength.
    """
    kernel = as_float64(kernel, "kernel", "...")
    _require_strength(strength)
    return float(dy) * strength * kernel


def kl_sparsity(activations: Values, target: Real) -> float:
    """Σ over units of KL(target, mean activation), two Bernoulli distributions.

    KL(t, m) = t log(t / m) + (1 - t) log((1 - t) / (1 - m)): zero where the unit is active the
    fraction t of the time, infinite as it tends to always or never. Where the activations are
    sigmoids that may saturate, `kl_sparsity_from_logits` is the same number without the infinity.

    Args:
        activations: (batch, units), the mean of each unit strictly between 0 and 1.
        target: t, strictly between 0 and 1.

    Returns:
        The penalty in nats.

    Raises:
        ValueError: Another rank, an empty batch, a mean or target out of range.
    """
    _, mean = _read_activations(activations, target)
    kl = target * np.log(target / mean) + (1.0 - target) * np.log((1.0 - target) / (1.0 - mean))
    return float(kl.sum())


def kl_sparsity_backward(
    dy: Real, activations: Values, target: Real
) -> Float64[np.ndarray, "batch units"]:
    """Gradient of `kl_sparsity`: dy ((1 - t) / (1 - m) - t / m) / batch, alike for each example.

    Raises:
        ValueError: As `kl_sparsity`.
    """
    activations, mean = _read_activations(activations, target)
    slope = (1.0 - target) / (1.0 - mean) - target / mean
    return float(dy) * np.ones_like(activations) * slope / activations.shape[0]


def kl_sparsity_from_logits(logits: Values, target: Real) -> float:
    """`kl_sparsity(sigmoid(logits), target)`, finite however far the sigmoids saturate.

    log m and log (1 - m) are taken as log-sum-exps of log sigmoid(± logits) over the batch, so
    that neither m = 0 nor m = 1 is ever formed.

    Args:
        logits: (batch, units).
        target: t, strictly between 0 and 1.

    Returns:
        The penalty in nats.

    Raises:
        ValueError: Another rank, an empty batch, or a target out of range.
    """
    logits = as_float64(logits, "logits", "batch units")
    _require_target(target)
    log_on, log_off = _log_mean_sigmoid(logits), _log_mean_sigmoid(-logits)
    kl = target * (np.log(target) - log_on) + (1.0 - target) * (np.log1p(-target) - log_off)
    return float(kl.sum())


def kl_sparsity_from_logits_backward(
    dy: Real, logits: Values, target: Real
) -> Float64[np.ndarray, "batch units"]:
    """Gradient of `kl_sparsity_from_logits`.

    With a = sigmoid(logits), and p = a / Σ a and q = (1 - a) / Σ (1 - a) over the batch (each
    computed from logarithms), d log m = p (1 - a) and d log (1 - m) = -q a, so

        dlogits = dy ((1 - t) q a - t p (1 - a))

    Raises:
        ValueError: As `kl_sparsity_from_logits`.
    """
    logits = as_float64(logits, "logits", "batch units")
    _require_target(target)
    batch = logits.shape[0]
    p = np.exp(log_sigmoid(logits) - _log_mean_sigmoid(logits)) / batch
    q = np.exp(log_sigmoid(-logits) - _log_mean_sigmoid(-logits)) / batch
    return float(dy) * ((1.0 - target) * q * sigmoid(logits) - target * p * sigmoid(-logits))


def _log_mean_sigmoid(logits: np.ndarray) -> np.ndarray:
    logs = log_sigmoid(logits)
    largest = logs.max(axis=0)
    return largest + np.log(np.exp(logs - largest).mean(axis=0))


def _read_activations(activations: Values, target: Real) -> tuple[np.ndarray, np.ndarray]:
    activations = as_float64(activations, "activations", "batch units")
    _require_target(target)
    mean = activations.mean(axis=0)
    if mean.min() <= 0.0 or mean.max() >= 1.0:
        raise ValueError(
            "the mean activation of every unit must lie strictly between 0 and 1, "
            f"got {mean.min()} to {mean.max()}; kl_sparsity_from_logits has no such limit"
        )
    return activations, mean


def _require_target(target: Real) -> None:
    if not 0.0 < target < 1.0:
        raise ValueError(f"the target sparsity must lie strictly between 0 and 1, got {target}")


def _require_strength(strength: Real) -> None:
    if not strength >= 0.0:
        raise ValueError(f"the strength of a penalty must not be negative, got {strength}")
