"""Is a gradient derived by hand the gradient? Central differences know."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64

from jaxcv.reference.arrays import Real, Values, as_float64, require_shape


class GradientCheck(NamedTuple):
    """How far a gradient a is from central differences b; both numbers are 0 for equal ones.

    Attributes:
        relative_error: ‖a - b‖ / (‖a‖ + ‖b‖) over all elements: the one to judge by.
        max_relative_error: The largest |a - b| / max(1e-8, |a| + |b|) of any element, which CS231n
            prints. It is dominated by elements near zero, whose differences are mostly rounding.
    """

    relative_error: float
    max_relative_error: float


def central_difference(
    function: Callable[[np.ndarray], Any], x: Values, step: Real = 1e-5
) -> Float64[np.ndarray, "..."]:
    """(function(x + h e) - function(x - h e)) / 2h for each element's unit vector e.

    The truncation error is of order h², the rounding error of order 1e-16 |function| / h: near
    1e-5 they balance.

    Args:
        function: From an array of x's shape to a scalar. It must be smooth within `step` of x: no
            kink of a ReLU, no change of a maximum.
        x: Where, any shape.
        step: h, in the units of x; positive.

    Returns:
        An array of x's shape.

    Raises:
        ValueError: An empty x, or a step that is not positive.
    """
    x = as_float64(x, "x", "...")
    if not step > 0.0:
        raise ValueError(f"step must be positive, got {step}")
    gradient = np.empty_like(x)
    for index in np.ndindex(x.shape):
        high, low = x.copy(), x.copy()
        high[index] += step
        low[index] -= step
        # The step that was made, which rounding lets differ from the step that was asked for.
        gradient[index] = (float(function(high)) - float(function(low))) / (
            high[index] - low[index]
        )
    return gradient


def check_gradient(
    function: Callable[[np.ndarray], Any], x: Values, gradient: Values, step: Real = 1e-5
) -> GradientCheck:
    """Compare a gradient with `central_difference`.

    Args:
        function: From an array of x's shape to a scalar; for a layer, the sum of its output times
            the dy that its backward function was given.
        x: Where.
        gradient: What is claimed to be the gradient there, of x's shape.
        step: As in `central_difference`.

    Returns:
        Both measures of the difference.

    Raises:
        ValueError: As `central_difference`, and where the gradient has not x's shape.

    Example:
        >>> check_gradient(lambda x: (x**2).sum(), [3.0], [6.0]).relative_error < 1e-10
        True
    """
    x = as_float64(x, "x", "...")
    a = as_float64(gradient, "gradient", "...")
    require_shape(a, "gradient", x.shape)
    b = central_difference(function, x, step)
    difference = float(np.linalg.norm(a - b))
    total = float(np.linalg.norm(a) + np.linalg.norm(b))
    elementwise = np.abs(a - b) / np.maximum(1e-8, np.abs(a) + np.abs(b))
    return GradientCheck(difference / total if difference else 0.0, float(elementwise.max()))
