"""The fully connected layer."""

import numpy as np
from jaxtyping import Float64

from jaxcv.reference.arrays import Values, as_float64, require_shape


def dense(
    x: Values, kernel: Values, bias: Values | None = None
) -> Float64[np.ndarray, "batch features_out"]:
    """Map each example linearly: x @ kernel + bias.

    Args:
        x: (batch, features_in).
        kernel: (features_in, features_out).
        bias: (features_out,), or None for none.

    Returns:
        (batch, features_out).

    Raises:
        ValueError: Shapes that do not fit, or an empty batch.

    Example:
        >>> dense([[1.0, 2.0]], [[1.0], [10.0]], [0.5])
        array([[21.5]])
    """
    x, kernel = _read(x, kernel)
    y = x @ kernel
    if bias is not None:
        bias = as_float64(bias, "bias", "features_out")
        require_shape(bias, "bias", kernel.shape[1:])
        y = y + bias
    return y


def dense_backward(
    dy: Values, x: Values, kernel: Values
) -> tuple[
    Float64[np.ndarray, "batch features_in"],
    Float64[np.ndarray, "features_in features_out"],
    Float64[np.ndarray, "features_out"],
]:
    """Gradients of `dense`: dx = dy @ kernel.T, dkernel = x.T @ dy, dbias = sum of dy.

    Args:
        dy: Gradient of the loss with respect to the output, (batch, features_out).
        x: (batch, features_in).
        kernel: (features_in, features_out).

    Returns:
        (dx, dkernel, dbias), each of the shape of what it is the gradient of.

    Raises:
        ValueError: Shapes that do not fit, or an empty batch.
    """
    x, kernel = _read(x, kernel)
    dy = as_float64(dy, "dy", "batch features_out")
    require_shape(dy, "dy", (x.shape[0], kernel.shape[1]))
    return dy @ kernel.T, x.T @ dy, dy.sum(axis=0)


def _read(x: Values, kernel: Values) -> tuple[np.ndarray, np.ndarray]:
    x = as_float64(x, "x", "batch features_in")
    kernel = as_float64(kernel, "kernel", "features_in features_out")
    if x.shape[1] != kernel.shape[0]:
        raise ValueError(f"x has {x.shape[1]} features, kernel takes {kernel.shape[0]}")
    return x, kernel
