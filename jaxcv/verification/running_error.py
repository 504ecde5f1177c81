"""Numbers that carry a bound on how far a float32 computation of them may be off.

Running error analysis (Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., section
3.3): each operation adds its own rounding to what the errors of its operands become. A formula that
is written with these numbers in the order in which the program computes it yields its value in
float64 and a bound on the error of the program, conditioning included: where a difference cancels,
the bound stays and the value shrinks.
"""

import math
from collections.abc import Callable
from typing import TypeAlias, Union

import numpy as np

from jaxcv.verification.bounds import FLOAT32, ULPS, summation

Numbers: TypeAlias = np.ndarray | np.floating
"""An array, or what NumPy makes of one without axes."""

Operand = Union["Bounded", Numbers, float]
Axes = tuple[int, ...]


class Bounded:
    """A float64 array and, element by element, a bound on the error of its float32 counterpart.

    Attributes:
        value: what exact arithmetic gives, but for float64's roundings
        error: how far a float32 computation may be from it
    """

    # NumPy leaves array ∘ Bounded to the reflected operators below.
    __array_ufunc__ = None

    def __init__(self, value: Numbers | float, error: Numbers | float = 0.0):
        self.value = np.asarray(value, np.float64)
        self.error = np.broadcast_to(error, self.value.shape)

    def __add__(self, other: Operand) -> "Bounded":
        other = bounded(other)
        return _rounded(self.value + other.value, self.error + other.error)

    def __radd__(self, other: Operand) -> "Bounded":
        return self + other

    def __neg__(self) -> "Bounded":
        return Bounded(-self.value, self.error)

    def __sub__(self, other: Operand) -> "Bounded":
        return self + -bounded(other)

    def __rsub__(self, other: Operand) -> "Bounded":
        return bounded(other) + -self

    def __mul__(self, other: Operand) -> "Bounded":
        other = bounded(other)
        inherited = (
            np.abs(self.value) * other.error
            + np.abs(other.value) * self.error
            + self.error * other.error
        )
        return _rounded(self.value * other.value, inherited)

    def __rmul__(self, other: Operand) -> "Bounded":
        return self * other

    def __truediv__(self, other: Operand) -> "Bounded":
        other = bounded(other)
        value = self.value / other.value
        least = np.abs(other.value) - other.error
        inherited = (self.error + np.abs(value) * other.error) / np.maximum(least, 0.0)
        return _allowed(value, inherited, "divide")

    def sum(self, axes: Axes, keepdims: bool = False) -> "Bounded":
        """The sum over some axes, in any order."""
        n = int(np.prod([self.value.shape[axis] for axis in axes]))
        inherited = self.error.sum(axis=axes, keepdims=keepdims)
        sizes = (np.abs(self.value) + self.error).sum(axis=axes, keepdims=keepdims)
        value = self.value.sum(axis=axes, keepdims=keepdims)
        return Bounded(value, inherited + summation(n) * sizes)

    def mean(self, axes: Axes, keepdims: bool = False) -> "Bounded":
        """The sum, divided by the number of elements."""
        n = int(np.prod([self.value.shape[axis] for axis in axes]))
        return self.sum(axes, keepdims) / float(n)

    def max(self, axes: Axes, keepdims: bool = False) -> "Bounded":
        """The largest: a choice, without rounding."""
        return Bounded(
            self.value.max(axis=axes, keepdims=keepdims),
            self.error.max(axis=axes, keepdims=keepdims),
        )

    def reshape(self, shape: tuple[int, ...]) -> "Bounded":
        """The same numbers in another shape."""
        return Bounded(self.value.reshape(shape), self.error.reshape(shape))


def bounded(operand: Operand) -> Bounded:
    """A plain array or number is exact: the program is given the same one."""
    return operand if isinstance(operand, Bounded) else Bounded(operand)


def exp(x: Bounded) -> Bounded:
    """e^x."""
    value = np.exp(x.value)
    return _allowed(value, value * np.expm1(x.error), "exp")


def expm1(x: Bounded) -> Bounded:
    """e^x − 1."""
    return _allowed(np.expm1(x.value), np.exp(x.value) * np.expm1(x.error), "expm1")


def log(x: Bounded) -> Bounded:
    """log x."""
    with np.errstate(divide="ignore", invalid="ignore"):
        inherited = -np.log1p(-x.error / x.value)
    return _allowed(np.log(x.value), inherited, "log")


def log1p(x: Bounded) -> Bounded:
    """log (1 + x), for x ≥ 0."""
    return _allowed(np.log1p(x.value), x.error, "log1p")


def tanh(x: Bounded) -> Bounded:
    """tanh x."""
    value = np.tanh(x.value)
    return _allowed(value, _spread(np.tanh, x, value), "tanh")


def erf(x: Bounded) -> Bounded:
    """The error function."""
    value = _erf(x.value)
    return _allowed(value, _spread(_erf, x, value), "erf")


def logistic(x: Bounded) -> Bounded:
    """1 / (1 + e^−x)."""
    value = _logistic(x.value)
    return _allowed(value, _spread(_logistic, x, value), "logistic")


def rsqrt(x: Bounded) -> Bounded:
    """1 / √x."""
    value = 1 / np.sqrt(x.value)
    with np.errstate(divide="ignore", invalid="ignore"):
        inherited = 1 / np.sqrt(x.value - x.error) - value
    return _allowed(value, inherited, "rsqrt")


def where(condition: np.ndarray | np.bool, x: Operand, y: Operand) -> Bounded:
    """x where the condition holds, else y: a choice, without rounding."""
    x, y = bounded(x), bounded(y)
    return Bounded(np.where(condition, x.value, y.value), np.where(condition, x.error, y.error))


_erf = np.vectorize(math.erf, otypes=[np.float64])


def _logistic(x: Numbers) -> Numbers:
    small = np.exp(-np.abs(x))
    return np.where(x >= 0.0, 1.0, small) / (1.0 + small)


def _spread(function: Callable[[Numbers], Numbers], x: Bounded, value: Numbers) -> Numbers:
    """How far an increasing function moves while its argument stays within its bound."""
    return np.maximum(function(x.value + x.error) - value, value - function(x.value - x.error))


def _rounded(value: Numbers, inherited: Numbers) -> Bounded:
    return Bounded(value, inherited + FLOAT32 * (np.abs(value) + inherited))


def _allowed(value: Numbers, inherited: Numbers, name: str) -> Bounded:
    # One unit in the last place is at most 2u of the value.
    return Bounded(value, inherited + 2 * FLOAT32 * ULPS[name] * (np.abs(value) + inherited))
