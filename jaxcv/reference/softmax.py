"""Softmax, log-softmax and cross-entropy: stable, since only differences of logits count."""

import numpy as np
from jaxtyping import Float64

from jaxcv.reference.arrays import Real, Values, as_float64, as_labels, require_shape


def softmax(logits: Values) -> Float64[np.ndarray, "... classes"]:
    """e^logits divided by its sum over the last axis.

    The largest logit is subtracted first, which changes nothing but keeps e^ from overflowing.

    Args:
        logits: (..., classes).

    Returns:
        Probabilities, of the same shape.

    Raises:
        ValueError: No axis, or no elements.

    Example:
        >>> softmax([10000.0, 10000.0])
        array([0.5, 0.5])
    """
    return np.exp(log_softmax(logits))


def softmax_backward(dy: Values, logits: Values) -> Float64[np.ndarray, "... classes"]:
    """Gradient of `softmax`: p (dy - sum of dy p), where p = softmax(logits).

    Raises:
        ValueError: No axis, no elements, or dy of another shape than the logits.
    """
    dy, logits = _read_both(dy, logits)
    p = softmax(logits)
    return p * (dy - (dy * p).sum(axis=-1, keepdims=True))


def log_softmax(logits: Values) -> Float64[np.ndarray, "... classes"]:
    """Logarithm of the softmax, without ever taking the logarithm of a probability that became 0.

    Raises:
        ValueError: No axis, or no elements.
    """
    logits = as_float64(logits, "logits", "... classes")
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def log_softmax_backward(dy: Values, logits: Values) -> Float64[np.ndarray, "... classes"]:
    """Gradient of `log_softmax`: dy - softmax(logits) * (sum of dy).

    Raises:
        ValueError: No axis, no elements, or dy of another shape than the logits.
    """
    dy, logits = _read_both(dy, logits)
    return dy - softmax(logits) * dy.sum(axis=-1, keepdims=True)


def cross_entropy(logits: Values, labels: Values, label_smoothing: Real = 0.0) -> float:
    """Mean over the batch of -sum over classes of target * log softmax(logits).

    With label smoothing a (Szegedy et al. 2015, section 7) the target is (1 - a) at the label plus
    a / classes everywhere.

    Args:
        logits: (batch, classes).
        labels: (batch,), integers in [0, classes).
        label_smoothing: a, in [0, 1].

    Returns:
        The loss in nats.

    Raises:
        ValueError: Shapes that do not fit, an empty batch, or a label or a out of range.
    """
    logits, target = _read_target(logits, labels, label_smoothing)
    return float(-(target * log_softmax(logits)).sum(axis=1).mean())


def cross_entropy_backward(
    dy: Real, logits: Values, labels: Values, label_smoothing: Real = 0.0
) -> Float64[np.ndarray, "batch classes"]:
    """Gradient of `cross_entropy`: dy (softmax(logits) - target) / batch.

    Args:
        dy: Gradient with respect to the loss, a scalar; 1 where the loss is the last thing.
        logits: (batch, classes).
        labels: (batch,), integers in [0, classes).
        label_smoothing: As in `cross_entropy`.

    Raises:
        ValueError: As `cross_entropy`.
    """
    logits, target = _read_target(logits, labels, label_smoothing)
    return float(dy) * (softmax(logits) - target) / logits.shape[0]


def _read_both(dy: Values, logits: Values) -> tuple[np.ndarray, np.ndarray]:
    logits = as_float64(logits, "logits", "... classes")
    dy = as_float64(dy, "dy", "... classes")
    require_shape(dy, "dy", logits.shape)
    return dy, logits


def _read_target(
    logits: Values, labels: Values, label_smoothing: Real
) -> tuple[np.ndarray, np.ndarray]:
    logits = as_float64(logits, "logits", "batch classes")
    batch, classes = logits.shape
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"label_smoothing must lie in [0, 1], got {label_smoothing}")
    one_hot = np.eye(classes)[as_labels(labels, batch, classes)]
    return logits, (1.0 - label_smoothing) * one_hot + label_smoothing / classes
