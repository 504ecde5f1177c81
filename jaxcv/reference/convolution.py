"""Two-dimensional convolution, and its gradients derived by hand.

As everywhere in deep learning this is cross-correlation: the kernel is not flipped. With p the
padding in front and s the stride,

    y[n, i, j, o] = bias[o] + Σ_abc x[n, s i + a - p, s j + b - p, c] kernel[a, b, c, o]

where x is zero outside the image. Each gradient reads off that sum: the input's collects, the
kernel's correlates, the bias's adds up.
"""

import numpy as np
from jaxtyping import Float64

from jaxcv.reference.arrays import Values, as_float64, require_shape
from jaxcv.reference.windows import Axis, Padding, Size, crop, lay_out, pad


def conv2d(
    x: Values,
    kernel: Values,
    bias: Values | None = None,
    stride: Size = 1,
    padding: Padding = "same",
) -> Float64[np.ndarray, "batch height_out width_out channels_out"]:
    """Convolve images with a bank of filters.

    Args:
        x: (batch, height, width, channels_in).
        kernel: (kernel_height, kernel_width, channels_in, channels_out).
        bias: (channels_out,), or None for none.
        stride: Pixels from one window to the next; a pair is (vertical, horizontal).
        padding: `"same"`, `"valid"`, a whole number of zeros on every side, or
            ((top, bottom), (left, right)).

    Returns:
        (batch, height_out, width_out, channels_out).

    Raises:
        ValueError: Shapes that do not fit, an empty batch, or a kernel larger than the padded
            image.

    Example:
        >>> conv2d(np.ones((1, 3, 3, 1)), np.ones((3, 3, 1, 1)), padding="valid")
        array([[[[9.]]]])
    """
    x, kernel, rows, columns = _read(x, kernel, stride, padding)
    padded = pad(x, rows, columns)
    y = np.zeros((x.shape[0], rows.outputs, columns.outputs, kernel.shape[3]))
    for a in range(rows.window):
        for b in range(columns.window):
            taken = padded[:, rows.strided(a), columns.strided(b)]
            y += np.tensordot(taken, kernel[a, b], axes=1)
    if bias is not None:
        bias = as_float64(bias, "bias", "channels_out")
        require_shape(bias, "bias", kernel.shape[3:])
        y += bias
    return y


def conv2d_backward(
    dy: Values, x: Values, kernel: Values, stride: Size = 1, padding: Padding = "same"
) -> tuple[
    Float64[np.ndarray, "batch height width channels_in"],
    Float64[np.ndarray, "kernel_height kernel_width channels_in channels_out"],
    Float64[np.ndarray, "channels_out"],
]:
    """Gradients of `conv2d` with respect to x, kernel and bias.

    Args:
        dy: Gradient of the loss with respect to the output,
            (batch, height_out, width_out, channels_out).
        x: The input, as in `conv2d`.
        kernel: The filters, as in `conv2d`.
        stride: As in `conv2d`.
        padding: As in `conv2d`.

    Returns:
        (dx, dkernel, dbias), each of the shape of what it is the gradient of.

    Raises:
        ValueError: As `conv2d`, and where dy has not the output's shape.
    """
    x, kernel, rows, columns = _read(x, kernel, stride, padding)
    dy = as_float64(dy, "dy", "batch height_out width_out channels_out")
    require_shape(dy, "dy", (x.shape[0], rows.outputs, columns.outputs, kernel.shape[3]))
    padded = pad(x, rows, columns)
    dpadded, dkernel = np.zeros_like(padded), np.zeros_like(kernel)
    for a in range(rows.window):
        for b in range(columns.window):
            taken = (slice(None), rows.strided(a), columns.strided(b))
            dpadded[taken] += np.tensordot(dy, kernel[a, b].T, axes=1)
            dkernel[a, b] = np.tensordot(padded[taken], dy, axes=((0, 1, 2), (0, 1, 2)))
    return crop(dpadded, rows, columns), dkernel, dy.sum(axis=(0, 1, 2))


def conv2d_nchw(
    x: Values,
    kernel: Values,
    bias: Values | None = None,
    stride: Size = 1,
    padding: Padding = "same",
) -> Float64[np.ndarray, "batch channels_out height_out width_out"]:
    """`conv2d` in the layout of PyTorch and of CS231n.

    Args:
        x: (batch, channels_in, height, width).
        kernel: (channels_out, channels_in, kernel_height, kernel_width).
        bias: (channels_out,), or None for none.
        stride: As in `conv2d`.
        padding: As in `conv2d`.

    Returns:
        (batch, channels_out, height_out, width_out).

    Raises:
        ValueError: As `conv2d`.
    """
    x, kernel = _read_nchw(x, kernel)
    return np.moveaxis(conv2d(x, kernel, bias, stride, padding), 3, 1)


def conv2d_nchw_backward(
    dy: Values, x: Values, kernel: Values, stride: Size = 1, padding: Padding = "same"
) -> tuple[
    Float64[np.ndarray, "batch channels_in height width"],
    Float64[np.ndarray, "channels_out channels_in kernel_height kernel_width"],
    Float64[np.ndarray, "channels_out"],
]:
    """Gradients of `conv2d_nchw`: (dx, dkernel, dbias) in its layout.

    Args:
        dy: (batch, channels_out, height_out, width_out).
        x: As in `conv2d_nchw`.
        kernel: As in `conv2d_nchw`.
        stride: As in `conv2d`.
        padding: As in `conv2d`.

    Raises:
        ValueError: As `conv2d_backward`.
    """
    x, kernel = _read_nchw(x, kernel)
    dy = np.moveaxis(as_float64(dy, "dy", "batch channels_out height_out width_out"), 1, 3)
    dx, dkernel, dbias = conv2d_backward(dy, x, kernel, stride, padding)
    return np.moveaxis(dx, 3, 1), np.transpose(dkernel, (3, 2, 0, 1)), dbias


def _read(
    x: Values, kernel: Values, stride: Size, padding: Padding
) -> tuple[np.ndarray, np.ndarray, Axis, Axis]:
    x = as_float64(x, "x", "batch height width channels_in")
    kernel = as_float64(kernel, "kernel", "kernel_height kernel_width channels_in channels_out")
    if x.shape[3] != kernel.shape[2]:
        raise ValueError(f"x has {x.shape[3]} channels, kernel takes {kernel.shape[2]}")
    rows, columns = lay_out(x.shape[1:3], kernel.shape[:2], stride, padding)
    return x, kernel, rows, columns


def _read_nchw(x: Values, kernel: Values) -> tuple[np.ndarray, np.ndarray]:
    x = as_float64(x, "x", "batch channels_in height width")
    kernel = as_float64(kernel, "kernel", "channels_out channels_in kernel_height kernel_width")
    return np.moveaxis(x, 1, 3), np.transpose(kernel, (2, 3, 1, 0))
