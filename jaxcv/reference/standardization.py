"""What batch, group and layer normalisation share: (x - mean) / sqrt(variance + epsilon).

Let m elements share one mean mu and one variance v = sum of (x - mu)^2 / d, where d = m (biased) or
m - 1 (unbiased), and let s = sqrt(v + epsilon), z = (x - mu) / s. Then dz reaches x along three
ways, directly, through mu and through v:

    dx = (dz - mean of dz - z * (sum of dz z) / d) / s

The way through mu inside v vanishes, since the deviations sum to zero.
"""

import numpy as np
from jaxtyping import Float64

from jaxcv.reference.arrays import Real, Values, as_float64, require_shape


def standardize(
    x: Float64[np.ndarray, "..."], axes: tuple[int, ...], epsilon: Real, unbiased: bool = False
) -> tuple[Float64[np.ndarray, "..."], Float64[np.ndarray, "..."]]:
    """(z, s): the standardised x, and sqrt(variance + epsilon) with the axes kept as 1.

    Two passes: the mean is subtracted before anything is squared, so a large common offset costs
    no digits.

    Args:
        x: Any shape.
        axes: The axes whose elements share one mean and one variance.
        epsilon: Added to the variance, inside the root; positive.
        unbiased: Whether the variance divides by one less than the number of elements.

    Raises:
        ValueError: An epsilon that is not positive, or one element only where unbiased.
    """
    if not epsilon > 0.0:
        raise ValueError(f"epsilon must be positive, got {epsilon}")
    divisor = _divisor(x, axes, unbiased)
    deviation = x - x.mean(axis=axes, keepdims=True)
    variance = (deviation**2).sum(axis=axes, keepdims=True) / divisor
    s = np.sqrt(variance + epsilon)
    return deviation / s, s


def standardize_backward(
    dz: Float64[np.ndarray, "..."],
    z: Float64[np.ndarray, "..."],
    s: Float64[np.ndarray, "..."],
    axes: tuple[int, ...],
    unbiased: bool = False,
) -> Float64[np.ndarray, "..."]:
    """Gradient of z of `standardize` with respect to x, from what it returned."""
    through_mean = dz.mean(axis=axes, keepdims=True)
    through_variance = (dz * z).sum(axis=axes, keepdims=True) / _divisor(z, axes, unbiased)
    return (dz - through_mean - z * through_variance) / s


def read_affine(
    values: Values | None, name: str, channels: int, absent: float
) -> Float64[np.ndarray, "channels"]:
    """A scale, offset or statistic for each channel; `absent` throughout where None.

    Raises:
        ValueError: Not (channels,).
    """
    if values is None:
        return np.full(channels, absent)
    array = as_float64(values, name, "channels")
    require_shape(array, name, (channels,))
    return array


def _divisor(x: np.ndarray, axes: tuple[int, ...], unbiased: bool) -> int:
    count = int(np.prod([x.shape[axis] for axis in axes]))
    if unbiased and count < 2:
        raise ValueError("an unbiased variance needs at least two elements per channel")
    return count - unbiased
