"""Softmax and cross-entropy, up to logits of ±1e4."""

import numpy as np
from flax import linen as nn

from jaxcv import losses, reference
from jaxcv.verification.cases.case import Case, Example, Rng, numbers
from jaxcv.verification.running_error import Bounded, exp, log


def _shifted(logits: np.ndarray) -> Bounded:
    x = Bounded(logits)
    return x - x.max((1,), keepdims=True)


def softmax_formula(logits: np.ndarray) -> Bounded:
    """What `softmax` computes."""
    e = exp(_shifted(logits))
    return e / e.sum((1,), keepdims=True)


def softmax_gradient_formula(dy: np.ndarray, logits: np.ndarray) -> Bounded:
    """What autodiff makes of `softmax`."""
    p = softmax_formula(logits)
    weighted = p * dy
    return weighted + -(p * weighted.sum((1,), keepdims=True))


def cross_entropy_formula(logits: np.ndarray, labels: np.ndarray, smoothing: float) -> Bounded:
    """What `cross_entropy` computes."""
    shifted = _shifted(logits)
    normalizer = log(exp(shifted).sum((1,)))
    rows = np.arange(len(labels))
    of_label = Bounded(shifted.value[rows, labels], shifted.error[rows, labels])
    losses = normalizer - of_label + smoothing * (of_label - shifted.mean((1,)))
    return losses.mean((0,))


def cross_entropy_gradient_formula(
    dy: float, logits: np.ndarray, labels: np.ndarray, smoothing: float
) -> Bounded:
    """What autodiff makes of `cross_entropy`."""
    batch, classes = logits.shape
    one_hot = Bounded(np.eye(classes)[labels])
    g = Bounded(dy) / float(batch)
    e = exp(_shifted(logits))
    p = (g / e.sum((1,), keepdims=True)) * e
    smoothed = g * smoothing
    return p + -(one_hot * g) + one_hot * smoothed + -(smoothed / float(classes))


def _logits(rng: Rng, shape: tuple[int, int], integers: bool, scale: float) -> np.ndarray:
    return numbers(rng, shape, integers) * np.float32(scale)


def _softmax(batch: int, classes: int, scale: float, deep: bool) -> Case:
    def draw(rng: Rng, integers: bool) -> Example:
        logits = _logits(rng, (batch, classes), integers, scale)
        return Example((logits,), (), numbers(rng, logits.shape, integers))

    def forward(example: Example, u: float) -> Bounded:
        (logits,) = example.inputs
        return Bounded(reference.softmax(logits), softmax_formula(logits).error)

    def backward(example: Example, u: float) -> tuple[Bounded, ...]:
        (logits,), dy = example.inputs, example.upstream
        value = reference.softmax_backward(dy, logits)
        return (Bounded(value, softmax_gradient_formula(dy, logits).error),)

    return Case(
        op="softmax",
        variant=f"({batch}, {classes}), logits of size {scale:g}",
        function=lambda logits: nn.softmax(logits),
        draw=draw,
        forward=forward,
        backward=backward,
        deep=deep,
    )


def _cross_entropy(batch: int, classes: int, scale: float, smoothing: float, deep: bool) -> Case:
    # A traced number of float32 where networks are trained.
    given = np.asarray(smoothing, np.float32)

    def draw(rng: Rng, integers: bool) -> Example:
        logits = _logits(rng, (batch, classes), integers, scale)
        labels = rng.integers(0, classes, batch).astype(np.int32)
        return Example((logits,), (labels, given), np.asarray(rng.uniform(0.5, 2), np.float32))

    def forward(example: Example, u: float) -> Bounded:
        (logits,), (labels, smoothing) = example.inputs, example.auxiliary
        value = reference.cross_entropy(logits, labels, float(smoothing))
        return Bounded(value, cross_entropy_formula(logits, labels, float(smoothing)).error)

    def backward(example: Example, u: float) -> tuple[Bounded, ...]:
        (logits,), (labels, smoothing) = example.inputs, example.auxiliary
        arguments = (float(example.upstream), logits, labels, float(smoothing))
        value = reference.cross_entropy_backward(*arguments)
        return (Bounded(value, cross_entropy_gradient_formula(*arguments).error),)

    return Case(
        op="cross_entropy",
        variant=f"({batch}, {classes}), logits of size {scale:g}, smoothing {smoothing:g}",
        function=lambda logits, labels, smoothing: losses.cross_entropy(logits, labels, smoothing),
        draw=draw,
        forward=forward,
        backward=backward,
        deep=deep,
    )


def cases() -> list[Case]:
    """Softmax and cross-entropy."""
    return [
        _softmax(7, 10, 1.0, False),
        _softmax(5, 3, 1e4, False),
        _softmax(4096, 1000, 3.0, True),
        _cross_entropy(7, 10, 1.0, 0.0, False),
        _cross_entropy(5, 10, 1.0, 0.1, False),
        _cross_entropy(5, 3, 1e4, 0.0, False),
        _cross_entropy(32769, 3, 1.0, 0.1, False),
        _cross_entropy(1, 2, 1.0, 1.0, True),
        _cross_entropy(1024, 1000, 3.0, 0.1, True),
    ]
