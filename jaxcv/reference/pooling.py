"""Max, average and global average pooling, with their gradients."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64

from jaxcv.reference.arrays import Values, as_float64, require_shape
from jaxcv.reference.windows import Axis, Padding, Size, lay_out


def max_pool2d(
    x: Values, window: Size = 2, stride: Size | None = None, padding: Padding = "valid"
) -> Float64[np.ndarray, "batch height_out width_out channels"]:
    """The largest pixel of each window; padding is never the largest.

    Args:
        x: (batch, height, width, channels).
        window: Height and width of the window; a pair is (height, width).
        stride: Pixels from one window to the next; None means the window itself.
        padding: As in `conv2d`. Nothing is compared with it: windows end at the image's border.

    Returns:
        (batch, height_out, width_out, channels).

    Raises:
        ValueError: x of another rank, an empty batch, a window larger than the padded image, or so
            much padding that a window holds no pixel.

    Example:
        >>> max_pool2d([[[[1.0], [2.0]], [[4.0], [3.0]]]])
        array([[[[4.]]]])
    """
    x, rows, columns = _read(x, window, stride, padding)
    _require_pixels(rows, columns)
    y = np.empty((x.shape[0], rows.outputs, columns.outputs, x.shape[3]))
    for i, j, inside in _windows(rows, columns):
        y[:, i, j] = x[inside].max(axis=(1, 2))
    return y


def max_pool2d_backward(
    dy: Values,
    x: Values,
    window: Size = 2,
    stride: Size | None = None,
    padding: Padding = "valid",
) -> Float64[np.ndarray, "batch height width channels"]:
    """Gradient of `max_pool2d`: each dy goes to the pixel that was the largest of its window.

    Of several equal ones the first in row-major order gets it all, as in XLA and PyTorch. A pixel
    that is the largest of several overlapping windows gets the sum.

    Args:
        dy: Gradient of the loss with respect to the output,
            (batch, height_out, width_out, channels).
        x: The input, as in `max_pool2d`.
        window: As in `max_pool2d`.
        stride: As in `max_pool2d`.
        padding: As in `max_pool2d`.

    Returns:
        dx, of x's shape.

    Raises:
        ValueError: As `max_pool2d`, and where dy has not the output's shape.
    """
    x, rows, columns = _read(x, window, stride, padding)
    _require_pixels(rows, columns)
    dy = _read_gradient(dy, x, rows, columns)
    dx = np.zeros_like(x)
    for i, j, inside in _windows(rows, columns):
        patch = x[inside]
        batch, height, width, channels = patch.shape
        # argmax returns the first of equal ones, and the reshape makes "first" row-major.
        largest = patch.reshape(batch, height * width, channels).argmax(axis=1)
        takes = np.arange(height * width)[None, :, None] == largest[:, None, :]
        dx[inside] += takes.reshape(patch.shape) * dy[:, i : i + 1, j : j + 1]
    return dx


def avg_pool2d(
    x: Values, window: Size = 2, stride: Size | None = None, padding: Padding = "valid"
) -> Float64[np.ndarray, "batch height_out width_out channels"]:
    """The sum of each window divided by the window's full size, so padded zeros count.

    Args:
        x: (batch, height, width, channels).
        window: As in `max_pool2d`.
        stride: As in `max_pool2d`.
        padding: As in `conv2d`.

    Returns:
        (batch, height_out, width_out, channels).

    Raises:
        ValueError: x of another rank, an empty batch, or a window larger than the padded image.
    """
    x, rows, columns = _read(x, window, stride, padding)
    y = np.empty((x.shape[0], rows.outputs, columns.outputs, x.shape[3]))
    for i, j, inside in _windows(rows, columns):
        y[:, i, j] = x[inside].sum(axis=(1, 2)) / (rows.window * columns.window)
    return y


def avg_pool2d_backward(
    dy: Values,
    x: Values,
    window: Size = 2,
    stride: Size | None = None,
    padding: Padding = "valid",
) -> Float64[np.ndarray, "batch height width channels"]:
    """Gradient of `avg_pool2d`: each dy is spread evenly over its window.

    Args:
        dy: (batch, height_out, width_out, channels).
        x: The input; only its shape matters.
        window: As in `max_pool2d`.
        stride: As in `max_pool2d`.
        padding: As in `conv2d`.

    Returns:
        dx, of x's shape.

    Raises:
        ValueError: As `avg_pool2d`, and where dy has not the output's shape.
    """
    x, rows, columns = _read(x, window, stride, padding)
    dy = _read_gradient(dy, x, rows, columns)
    dx = np.zeros_like(x)
    for i, j, inside in _windows(rows, columns):
        dx[inside] += dy[:, i : i + 1, j : j + 1] / (rows.window * columns.window)
    return dx


def global_avg_pool2d(x: Values) -> Float64[np.ndarray, "batch channels"]:
    """The mean over height and width of x, (batch, height, width, channels).

    Raises:
        ValueError: x of another rank, or empty.
    """
    return as_float64(x, "x", "batch height width channels").mean(axis=(1, 2))


def global_avg_pool2d_backward(
    dy: Values, x: Values
) -> Float64[np.ndarray, "batch height width channels"]:
    """Gradient of `global_avg_pool2d`: dy, (batch, channels), spread evenly over the pixels of x.

    Raises:
        ValueError: x of another rank, or empty, or dy not (batch, channels).
    """
    x = as_float64(x, "x", "batch height width channels")
    dy = as_float64(dy, "dy", "batch channels")
    batch, height, width, channels = x.shape
    require_shape(dy, "dy", (batch, channels))
    return np.ones_like(x) * dy[:, None, None, :] / (height * width)


def max_pool2d_nchw(
    x: Values, window: Size = 2, stride: Size | None = None, padding: Padding = "valid"
) -> Float64[np.ndarray, "batch channels height_out width_out"]:
    """`max_pool2d` of x in the layout (batch, channels, height, width).

    Raises:
        ValueError: As `max_pool2d`.
    """
    x = np.moveaxis(as_float64(x, "x", "batch channels height width"), 1, 3)
    return np.moveaxis(max_pool2d(x, window, stride, padding), 3, 1)


def max_pool2d_nchw_backward(
    dy: Values,
    x: Values,
    window: Size = 2,
    stride: Size | None = None,
    padding: Padding = "valid",
) -> Float64[np.ndarray, "batch channels height width"]:
    """Gradient of `max_pool2d_nchw`, in its layout.

    Raises:
        ValueError: As `max_pool2d_backward`.
    """
    x = np.moveaxis(as_float64(x, "x", "batch channels height width"), 1, 3)
    dy = np.moveaxis(as_float64(dy, "dy", "batch channels height_out width_out"), 1, 3)
    return np.moveaxis(max_pool2d_backward(dy, x, window, stride, padding), 3, 1)


def _read(
    x: Values, window: Size, stride: Size | None, padding: Padding
) -> tuple[np.ndarray, Axis, Axis]:
    x = as_float64(x, "x", "batch height width channels")
    rows, columns = lay_out(x.shape[1:3], window, window if stride is None else stride, padding)
    return x, rows, columns


def _read_gradient(dy: Values, x: np.ndarray, rows: Axis, columns: Axis) -> np.ndarray:
    dy = as_float64(dy, "dy", "batch height_out width_out channels")
    require_shape(dy, "dy", (x.shape[0], rows.outputs, columns.outputs, x.shape[3]))
    return dy


def _require_pixels(rows: Axis, columns: Axis) -> None:
    for axis in (rows, columns):
        for output in (0, axis.outputs - 1):
            inside = axis.inside(output)
            if inside.start >= inside.stop:
                raise ValueError(
                    f"padding ({axis.before}, {axis.after}) leaves a window of {axis.window} "
                    "without a pixel; it must be smaller than the window"
                )


def _windows(rows: Axis, columns: Axis) -> Iterator[tuple[int, int, tuple[slice, slice, slice]]]:
    """(i, j, index of the pixels under window i, j) for each window in turn."""
    vertical = [rows.inside(i) for i in range(rows.outputs)]
    horizontal = [columns.inside(j) for j in range(columns.outputs)]
    for i, j in np.ndindex(rows.outputs, columns.outputs):
        yield i, j, (slice(None), vertical[i], horizontal[j])
