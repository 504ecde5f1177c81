"""Dropout, given which elements are kept."""

import numpy as np
from jaxtyping import Float64

from jaxcv.reference.arrays import Real, Values, as_float64, require_shape


def dropout(x: Values, mask: Values, rate: Real) -> Float64[np.ndarray, "..."]:
    """Keep x / (1 - rate) where the mask is true, else 0 (Srivastava et al. 2014, inverted form).

    The scaling keeps the expected output equal to x, so that evaluation needs no change.

    Args:
        x: Any shape.
        mask: Of x's shape; true (or 1) is kept, false (or 0) is dropped.
        rate: The probability of being dropped that the mask was drawn with, in [0, 1]. At 1
            everything is 0.

    Returns:
        An array of x's shape.

    Raises:
        ValueError: A mask of another shape or with other values, an empty x, or a rate out of
            range.
    """
    x = as_float64(x, "x", "...")
    kept = as_float64(mask, "mask", "...")
    require_shape(kept, "mask", x.shape)
    if not np.isin(kept, (0.0, 1.0)).all():
        raise ValueError("mask must be true and false, or 1 and 0, only")
    if not 0.0 <= rate <= 1.0:
        raise ValueError(f"rate must lie in [0, 1], got {rate}")
    if rate == 1.0:
        return np.zeros_like(x)
    return np.where(kept == 1.0, x / (1.0 - float(rate)), 0.0)


def dropout_backward(dy: Values, mask: Values, rate: Real) -> Float64[np.ndarray, "..."]:
    """Gradient of `dropout`: linear in x, so the same mask and scaling applied to dy.

    Raises:
        ValueError: As `dropout`.
    """
    return dropout(as_float64(dy, "dy", "..."), mask, rate)
