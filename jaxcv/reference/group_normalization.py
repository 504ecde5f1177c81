"""Group normalisation (Wu & He 2018, section 3.1) and layer normalisation (Ba et al. 2016)."""

import numpy as np
from jaxtyping import Float64

from jaxcv.reference.arrays import Real, Values, as_float64, require_shape
from jaxcv.reference.standardization import read_affine, standardize, standardize_backward


def group_norm(
    x: Values,
    scale: Values | None,
    bias: Values | None,
    groups: int,
    epsilon: Real = 1e-5,
) -> Float64[np.ndarray, "batch ... channels"]:
    """Standardise each example by groups of neighbouring channels, then y = scale * z + bias.

    A group is channels / groups channels that follow one another, with all their pixels; its
    variance is biased, with epsilon inside the root. One group is layer normalisation over the
    whole example, as many groups as channels is instance normalisation.

    Args:
        x: (batch, ..., channels).
        scale: (channels,), or None for 1.
        bias: (channels,), or None for 0.
        groups: A divisor of the number of channels.
        epsilon: Added to the variance; positive.

    Returns:
        An array of x's shape.

    Raises:
        ValueError: Shapes that do not fit, an empty batch, or a number of groups that does not
            divide the channels.
    """
    x = as_float64(x, "x", "... batch channels")
    scale = read_affine(scale, "scale", x.shape[-1], 1.0)
    bias = read_affine(bias, "bias", x.shape[-1], 0.0)
    grouped, axes = _group(x, groups)
    z, _ = standardize(grouped, axes, epsilon)
    return scale * z.reshape(x.shape) + bias


def group_norm_backward(
    dy: Values, x: Values, scale: Values | None, groups: int, epsilon: Real = 1e-5
) -> tuple[
    Float64[np.ndarray, "batch ... channels"],
    Float64[np.ndarray, "channels"],
    Float64[np.ndarray, "channels"],
]:
    """Gradients of `group_norm`: (dx, dscale, dbias).

    Args:
        dy: Gradient of the loss with respect to the output, of x's shape.
        x: As in `group_norm`.
        scale: As in `group_norm`; with None, dscale is the gradient at 1.
        groups: As in `group_norm`.
        epsilon: As in `group_norm`.

    Raises:
        ValueError: As `group_norm`, and where dy has not x's shape.
    """
    x = as_float64(x, "x", "... batch channels")
    dy = as_float64(dy, "dy", "... batch channels")
    require_shape(dy, "dy", x.shape)
    scale = read_affine(scale, "scale", x.shape[-1], 1.0)
    grouped, axes = _group(x, groups)
    z, s = standardize(grouped, axes, epsilon)
    dx = standardize_backward((dy * scale).reshape(grouped.shape), z, s, axes).reshape(x.shape)
    others = tuple(range(x.ndim - 1))
    return dx, (dy * z.reshape(x.shape)).sum(axis=others), dy.sum(axis=others)


def layer_norm(
    x: Values, scale: Values | None, bias: Values | None, epsilon: Real = 1e-5
) -> Float64[np.ndarray, "... channels"]:
    """Standardise the last axis by itself, then y = scale * z + bias.

    Args:
        x: (..., channels).
        scale: (channels,), or None for 1.
        bias: (channels,), or None for 0.
        epsilon: Added to the (biased) variance; positive.

    Returns:
        An array of x's shape.

    Raises:
        ValueError: Shapes that do not fit, or an empty batch.
    """
    x = as_float64(x, "x", "... channels")
    scale = read_affine(scale, "scale", x.shape[-1], 1.0)
    bias = read_affine(bias, "bias", x.shape[-1], 0.0)
    z, _ = standardize(x, (-1,), epsilon)
    return scale * z + bias


def layer_norm_backward(
    dy: Values, x: Values, scale: Values | None, epsilon: Real = 1e-5
) -> tuple[
    Float64[np.ndarray, "... channels"],
    Float64[np.ndarray, "channels"],
    Float64[np.ndarray, "channels"],
]:
    """Gradients of `layer_norm`: (dx, dscale, dbias).

    Raises:
        ValueError: As `layer_norm`, and where dy has not x's shape.
    """
    x = as_float64(x, "x", "... channels")
    dy = as_float64(dy, "dy", "... channels")
    require_shape(dy, "dy", x.shape)
    scale = read_affine(scale, "scale", x.shape[-1], 1.0)
    z, s = standardize(x, (-1,), epsilon)
    others = tuple(range(x.ndim - 1))
    dx = standardize_backward(dy * scale, z, s, (-1,))
    return dx, (dy * z).sum(axis=others), dy.sum(axis=others)


def _group(x: np.ndarray, groups: int) -> tuple[np.ndarray, tuple[int, ...]]:
    """Split x into (batch, ..., groups, channels / groups), and the axes that share statistics."""
    channels = x.shape[-1]
    if groups < 1 or channels % groups:
        raise ValueError(f"groups must divide the {channels} channels, got {groups}")
    grouped = x.reshape(*x.shape[:-1], groups, channels // groups)
    pixels = range(1, x.ndim - 1)
    return grouped, (*pixels, grouped.ndim - 1)
