"""Activations, dropout and the L2 penalty: element by element, as JAX evaluates them."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from flax import linen as nn

from jaxcv import layers, losses, ops, reference
from jaxcv.models import activations
from jaxcv.verification.bounds import FLOAT32
from jaxcv.verification.cases.case import Case, Example, Rng, numbers
from jaxcv.verification.running_error import (
    Bounded,
    erf,
    exp,
    expm1,
    log1p,
    logistic,
    tanh,
    where,
)

Formula = Callable[[Bounded], Bounded]
Slope = Callable[[Bounded, Bounded], Bounded]


def _constant(value: float) -> Bounded:
    """A constant that float32 rounds."""
    return Bounded(value, FLOAT32 * value)


def _gelu_argument(x: Bounded) -> Bounded:
    return _constant(math.sqrt(2 / math.pi)) * (x + _constant(0.044715) * (x * x * x))


def _gelu_slope(x: Bounded, dy: Bounded) -> Bounded:
    t = tanh(_gelu_argument(x))
    inner = _constant(math.sqrt(2 / math.pi)) * (1.0 + _constant(0.044715) * (3.0 * (x * x)))
    return dy * (0.5 * (1.0 + t)) + x * dy * 0.5 * (1.0 + t) * (1.0 - t) * inner


def _tanh_slope(x: Bounded, dy: Bounded) -> Bounded:
    t = tanh(x)
    return (dy + dy * t) * (1.0 - t)


def _sigmoid_slope(x: Bounded, dy: Bounded) -> Bounded:
    s = logistic(x)
    return dy * s * (1.0 - s)


def _log_sigmoid(x: Bounded) -> Bounded:
    fallen = log1p(exp(Bounded(-np.abs(x.value), x.error)))
    return -(Bounded(np.maximum(-x.value, 0.0), x.error) + fallen)


def _log_sigmoid_slope(x: Bounded, dy: Bounded) -> Bounded:
    # e to a difference, whose size is the relative error's: not a logistic function.
    return dy * exp(_log_sigmoid(x) - x)


# How Flax's activation functions compute, and what autodiff makes of it.
FORMULAS: tuple[tuple[str, Formula, Slope], ...] = (
    (
        "relu",
        lambda x: where(x.value > 0, x, 0.0),
        lambda x, dy: where(x.value > 0, dy, 0.0),
    ),
    (
        "leaky_relu",
        lambda x: where(x.value >= 0, x, _constant(0.01) * x),
        lambda x, dy: where(x.value >= 0, dy, _constant(0.01) * dy),
    ),
    (
        "elu",
        lambda x: where(x.value > 0, x, expm1(Bounded(np.minimum(x.value, 0.0)))),
        lambda x, dy: where(x.value > 0, dy, dy * (expm1(Bounded(np.minimum(x.value, 0.0))) + 1.0)),
    ),
    ("gelu", lambda x: x * (0.5 * (1.0 + tanh(_gelu_argument(x)))), _gelu_slope),
    ("tanh", tanh, _tanh_slope),
    ("sigmoid", logistic, _sigmoid_slope),
    ("log_sigmoid", _log_sigmoid, _log_sigmoid_slope),
)


def _activation(
    op: str, formula: Formula, slope: Slope, size: int, deep: bool, *form: bool
) -> Case:
    """An activation's case; `form` is what the reference takes beside arrays."""

    def function(x: np.ndarray) -> np.ndarray:
        return getattr(reference, op)(x, *form)

    def gradient(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
        return getattr(reference, f"{op}_backward")(dy, x, *form)

    def draw(rng: Rng, integers: bool) -> Example:
        x = numbers(rng, (size,), integers)
        if not integers:
            # Every size that matters, both signs, saturated ends and the kink itself.
            x *= np.exp(rng.uniform(-9, 2, size)).astype(np.float32)
            x[:5] = 0.0, 1.0, -1.0, 30.0, -30.0
        return Example((x,), (), numbers(rng, (size,), integers))

    def forward(example: Example, u: float) -> Bounded:
        (x,) = example.inputs
        return Bounded(function(x), formula(Bounded(x)).error)

    def backward(example: Example, u: float) -> tuple[Bounded, ...]:
        (x,), dy = example.inputs, example.upstream
        return (Bounded(gradient(dy, x), slope(Bounded(x), Bounded(dy)).error),)

    return Case(
        op=op,
        variant=f"({size},)",
        function=lambda x: getattr(nn, op)(x),
        draw=draw,
        forward=forward,
        backward=backward,
        exact=op == "relu",
        deep=deep,
    )


def _relu_once(size: int) -> Case:
    """Our own, whose result is computed once for all its uses."""
    case = _activation(*FORMULAS[0], size, False)
    return dataclasses.replace(case, variant=f"({size},), computed once", function=ops.relu)


def _normal_cdf(x: Bounded) -> Bounded:
    return 0.5 * (1.0 + erf(x * _constant(math.sqrt(0.5))))


def _gelu_by_erf_slope(x: Bounded, dy: Bounded) -> Bounded:
    z = x * _constant(math.sqrt(0.5))
    density = _constant(2 / math.sqrt(math.pi)) * exp(-(z * z)) * _constant(math.sqrt(0.5))
    return dy * _normal_cdf(x) + dy * (0.5 * x) * density


def _gelu_by_erf(size: int, deep: bool) -> Case:
    """Our own, by the normal distribution function."""
    case = _activation("gelu", lambda x: x * _normal_cdf(x), _gelu_by_erf_slope, size, deep, False)
    return dataclasses.replace(case, op="gelu by erf", function=lambda x: activations.gelu(x))


def _dropout(rate: float, deep: bool) -> Case:
    shape = (4, 6, 6, 5)
    # The rate is a traced number of float32 where networks use it.
    given = np.asarray(rate, np.float32)

    def draw(rng: Rng, integers: bool) -> Example:
        x, dy = numbers(rng, shape, integers), numbers(rng, shape, integers)
        return Example((x,), (rng.random(shape) >= rate, given), dy)

    def scaled(array: np.ndarray, example: Example) -> Bounded:
        value = reference.dropout(array, example.auxiliary[0], float(given))
        kept = np.broadcast_to(1.0 - Bounded(float(given)).value, shape)
        error = (Bounded(np.abs(array)) / Bounded(kept, FLOAT32 * kept)).error
        return Bounded(value, np.where(value == 0, 0.0, error))

    return Case(
        op="dropout",
        variant=f"{shape}, rate {rate}",
        function=lambda x, mask, rate: layers.dropout(x, mask, rate),
        draw=draw,
        forward=lambda example, u: scaled(example.inputs[0], example),
        backward=lambda example, u: (scaled(example.upstream, example),),
        exact=rate in (0.0, 0.5, 1.0),
        deep=deep,
    )


def _l2_penalty(shape: tuple[int, ...], deep: bool) -> Case:
    def draw(rng: Rng, integers: bool) -> Example:
        kernel, bias = numbers(rng, shape, integers), numbers(rng, shape[-1:], integers)
        return Example((kernel, bias), (), np.asarray(rng.integers(1, 4), np.float32))

    def forward(example: Example, u: float) -> Bounded:
        kernel, _ = map(Bounded, example.inputs)
        square = kernel * kernel
        error = (0.5 * square.sum(tuple(range(len(shape))))).error
        return Bounded(reference.l2_penalty(example.inputs[0], 1.0), error)

    def backward(example: Example, u: float) -> tuple[Bounded, ...]:
        kernel, bias = example.inputs
        dy = float(example.upstream)
        value = reference.l2_penalty_backward(dy, kernel, 1.0)
        error = (dy * Bounded(0.5) * 2.0 * Bounded(kernel)).error
        return Bounded(value, error), Bounded(np.zeros_like(bias))

    return Case(
        op="l2_penalty",
        variant=f"{shape}",
        function=lambda kernel, bias: losses.l2_penalty({"kernel": kernel, "bias": bias}),
        draw=draw,
        forward=forward,
        backward=backward,
        exact=True,
        deep=deep,
    )


def cases() -> list[Case]:
    """Activations, dropout and the L2 penalty."""
    return [
        *(_activation(*formula, 1000, False) for formula in FORMULAS),
        *(_activation(*formula, 100_003, True) for formula in FORMULAS),
        _relu_once(1000),
        _gelu_by_erf(1000, False),
        _gelu_by_erf(100_003, True),
        _dropout(0.5, False),
        _dropout(0.3, False),
        _dropout(0.0, True),
        _dropout(1.0, True),
        _l2_penalty((3, 3, 4, 5), False),
        _l2_penalty((3, 3, 64, 64), True),
    ]
