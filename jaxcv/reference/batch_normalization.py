"""Batch normalisation (Ioffe & Szegedy 2015, algorithms 1 and 2).

Spatial batch normalisation is the same function on (batch, height, width, channels): all axes but
the last share one mean and one variance.
"""

import numpy as np
from jaxtyping import Float64

from jaxcv.reference.arrays import Real, Values, as_float64, require_shape
from jaxcv.reference.standardization import read_affine, standardize, standardize_backward


def batch_norm(
    x: Values,
    scale: Values | None,
    bias: Values | None,
    running_mean: Values | None = None,
    running_var: Values | None = None,
    training: bool = True,
    momentum: Real = 0.99,
    epsilon: Real = 1e-3,
) -> tuple[
    Float64[np.ndarray, "batch ... channels"],
    Float64[np.ndarray, "channels"],
    Float64[np.ndarray, "channels"],
]:
    """Standardise each channel, then y = scale * z + bias.

    In training z uses the batch's own mean and variance, and the running statistics become
    momentum * old + (1 - momentum) * batch. In evaluation z uses the running statistics, which
    stay. Both variances are biased (they divide by the number of elements), as in Keras and Flax;
    epsilon stands inside the root.

    Args:
        x: (batch, ..., channels).
        scale: (channels,), or None for 1.
        bias: (channels,), or None for 0.
        running_mean: (channels,); None, in training, for zeros.
        running_var: (channels,), not negative; None, in training, for ones.
        training: Whether to use the batch's statistics and update the running ones.
        momentum: Weight of the old running statistics, in [0, 1].
        epsilon: Added to the variance; positive.

    Returns:
        (y, new_running_mean, new_running_var).

    Raises:
        ValueError: Shapes that do not fit, an empty batch, no running statistics in evaluation, or
            a momentum or epsilon out of range.

    Example:
        >>> y, mean, var = batch_norm([[1.0], [3.0]], None, None, momentum=0.5, epsilon=1e-12)
        >>> y.ravel().round(6), mean, var
        (array([-1.,  1.]), array([1.]), array([1.]))
    """
    x = as_float64(x, "x", "... batch channels")
    channels = x.shape[-1]
    scale = read_affine(scale, "scale", channels, 1.0)
    bias = read_affine(bias, "bias", channels, 0.0)
    if not training:
        z, _, mean, var = _by_running(x, running_mean, running_var, epsilon)
        return scale * z + bias, mean, var
    mean = read_affine(running_mean, "running_mean", channels, 0.0)
    var = read_affine(running_var, "running_var", channels, 1.0)
    if not 0.0 <= momentum <= 1.0:
        raise ValueError(f"momentum must lie in [0, 1], got {momentum}")
    axes = _shared(x)
    z, _ = standardize(x, axes, epsilon)
    new_mean = momentum * mean + (1.0 - momentum) * x.mean(axis=axes)
    new_var = momentum * var + (1.0 - momentum) * x.var(axis=axes)
    return scale * z + bias, new_mean, new_var


def batch_norm_backward(
    dy: Values,
    x: Values,
    scale: Values | None,
    epsilon: Real = 1e-3,
    training: bool = True,
    running_mean: Values | None = None,
    running_var: Values | None = None,
) -> tuple[
    Float64[np.ndarray, "batch ... channels"],
    Float64[np.ndarray, "channels"],
    Float64[np.ndarray, "channels"],
]:
    """Gradients of `batch_norm`'s y with respect to x, scale and bias.

    In training the mean and the variance depend on x, so every element of dx depends on all of its
    channel's dy; in evaluation they are constants and dx = dy * scale / sqrt(var + epsilon).

    Args:
        dy: Gradient of the loss with respect to y, of x's shape.
        x: As in `batch_norm`.
        scale: As in `batch_norm`; with None, dscale is the gradient at 1.
        epsilon: As in `batch_norm`.
        training: As in `batch_norm`.
        running_mean: (channels,); used in evaluation only.
        running_var: (channels,); used in evaluation only.

    Returns:
        (dx, dscale, dbias).

    Raises:
        ValueError: As `batch_norm`, and where dy has not x's shape.
    """
    x = as_float64(x, "x", "... batch channels")
    dy = as_float64(dy, "dy", "... batch channels")
    require_shape(dy, "dy", x.shape)
    scale = read_affine(scale, "scale", x.shape[-1], 1.0)
    axes = _shared(x)
    if training:
        z, s = standardize(x, axes, epsilon)
        dx = standardize_backward(dy * scale, z, s, axes)
    else:
        z, s, _, _ = _by_running(x, running_mean, running_var, epsilon)
        dx = dy * scale / s
    return dx, (dy * z).sum(axis=axes), dy.sum(axis=axes)


def batch_norm_ncl(
    x: Values, scale: Values | None = None, bias: Values | None = None, epsilon: Real = 1e-5
) -> Float64[np.ndarray, "batch channels length"]:
    """Batch normalisation as the PyTorch exercise has it: always by the batch's own statistics.

    Two conventions differ from `batch_norm`: the channels are the middle axis, and the variance is
    the unbiased one, Σ (x - mean)² / (batch * length - 1). Epsilon stands inside the root (the
    exercise's formula puts it outside, its code inside). `torch.nn.BatchNorm1d` is the biased form,
    so the two differ by the factor sqrt(1 - 1 / (batch * length)), epsilon apart.

    Args:
        x: (batch, channels, length), at least two elements per channel.
        scale: (channels,), or None for 1.
        bias: (channels,), or None for 0.
        epsilon: Added to the variance; positive.

    Returns:
        (batch, channels, length).

    Raises:
        ValueError: Shapes that do not fit, an empty batch, or one element per channel.
    """
    x = as_float64(x, "x", "batch channels length")
    z, _ = standardize(x, (0, 2), epsilon, unbiased=True)
    scale = read_affine(scale, "scale", x.shape[1], 1.0)
    bias = read_affine(bias, "bias", x.shape[1], 0.0)
    return scale[:, None] * z + bias[:, None]


def batch_norm_ncl_backward(
    dy: Values, x: Values, scale: Values | None = None, epsilon: Real = 1e-5
) -> tuple[
    Float64[np.ndarray, "batch channels length"],
    Float64[np.ndarray, "channels"],
    Float64[np.ndarray, "channels"],
]:
    """Gradients of `batch_norm_ncl`: (dx, dscale, dbias).

    Raises:
        ValueError: As `batch_norm_ncl`, and where dy has not x's shape.
    """
    x = as_float64(x, "x", "batch channels length")
    dy = as_float64(dy, "dy", "batch channels length")
    require_shape(dy, "dy", x.shape)
    scale = read_affine(scale, "scale", x.shape[1], 1.0)
    z, s = standardize(x, (0, 2), epsilon, unbiased=True)
    dx = standardize_backward(dy * scale[:, None], z, s, (0, 2), unbiased=True)
    return dx, (dy * z).sum(axis=(0, 2)), dy.sum(axis=(0, 2))


def _shared(x: np.ndarray) -> tuple[int, ...]:
    return tuple(range(x.ndim - 1))


def _by_running(
    x: np.ndarray, mean: Values | None, var: Values | None, epsilon: Real
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    if mean is None or var is None:
        raise ValueError("evaluation needs running_mean and running_var")
    if not epsilon > 0.0:
        raise ValueError(f"epsilon must be positive, got {epsilon}")
    mean = read_affine(mean, "running_mean", x.shape[-1], 0.0)
    var = read_affine(var, "running_var", x.shape[-1], 1.0)
    if var.min() < 0.0:
        raise ValueError(f"running_var must not be negative, got {var.min()}")
    s = np.sqrt(var + epsilon)
    return (x - mean) / s, s, mean, var
