"""Max, average and global average pooling.

The gradient of a maximum goes to one element of each window: the largest, and of several equal
ones the first in row-major order. On CPU it is found by comparison, since select-and-scatter,
which autodiff uses and other platforms keep, takes ten times as long there.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from jaxcv.ops.padding import Padding, Pads, Pair, as_pads, as_pair, output_size


def max_pool2d(
    x: Float[Array, "batch height width channels"],
    window: int | Sequence[int] = 2,
    stride: int | Sequence[int] | None = None,
    padding: Padding = "valid",
) -> Float[Array, "batch out_height out_width channels"]:
    """Returns the largest value of each window.

    Args:
        x: feature maps, at least one.
        window: rows and columns of a window, one integer or two.
        stride: steps between windows; None means the window's own size.
        padding: as :func:`jaxcv.ops.conv2d` takes it; what is added never wins.

    Raises:
        ValueError: no floating-point batch of images, an empty batch, a window larger than the
            padded image, or one that would see nothing but padding.
    """
    size, steps, pads = _geometry(x, window, stride, padding)
    return _max_pool(x, size, steps, pads)


def avg_pool2d(
    x: Float[Array, "batch height width channels"],
    window: int | Sequence[int] = 2,
    stride: int | Sequence[int] | None = None,
    padding: Padding = "valid",
) -> Float[Array, "batch out_height out_width channels"]:
    """Returns the sum of each window over its full size: zeros of the padding count.

    Args and errors are those of :func:`max_pool2d`.
    """
    size, steps, pads = _geometry(x, window, stride, padding)
    total = lax.reduce_window(
        x, np.zeros((), x.dtype), lax.add, (1, *size, 1), (1, *steps, 1), _around(pads)
    )
    return total / np.asarray(size[0] * size[1], x.dtype)


def global_avg_pool2d(
    x: Float[Array, "batch height width channels"],
) -> Float[Array, "batch channels"]:
    """Returns the mean of each feature map.

    Raises:
        ValueError: no floating-point batch of images, or an empty one.
    """
    _check(x)
    return jnp.mean(x, axis=(1, 2))


def _check(x: Array) -> None:
    if x.ndim != 4:
        raise ValueError(f"x must be (batch, height, width, channels), not {x.shape}")
    if 0 in x.shape:
        raise ValueError(f"x {x.shape} is empty")
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"x must be of a floating-point dtype, not {x.dtype}")


def _geometry(x: Array, window, stride, padding) -> tuple[Pair, Pair, Pads]:
    _check(x)
    image = (x.shape[1], x.shape[2])
    size = as_pair(window, "window")
    steps = size if stride is None else as_pair(stride, "stride")
    pads = as_pads(padding, image, size, steps)
    output = output_size(image, size, steps, pads)
    for n, k, s, (low, _), m in zip(image, size, steps, pads, output, strict=True):
        if low >= k or (m - 1) * s - low >= n:
            raise ValueError(f"padding {pads} leaves a window of {size} with nothing but padding")
    return size, steps, pads


def _around(pads: Pads) -> tuple[Pair, ...]:
    return ((0, 0), *pads, (0, 0))


def _plain(x: Array, window: Pair, stride: Pair, pads: Pads) -> Array:
    lowest = np.asarray(-np.inf, x.dtype)
    return lax.reduce_window(x, lowest, lax.max, (1, *window, 1), (1, *stride, 1), _around(pads))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _max_pool(x: Array, window: Pair, stride: Pair, pads: Pads) -> Array:
    return _plain(x, window, stride, pads)


def _forward(x: Array, window: Pair, stride: Pair, pads: Pads):
    y = _max_pool(x, window, stride, pads)
    return y, (x, y)


def _backward(window: Pair, stride: Pair, pads: Pads, residuals: tuple[Array, Array], dy: Array):
    x, y = residuals

    def cpu(x: Array, y: Array, dy: Array) -> Array:
        tiled = (
            window == stride
            and pads == ((0, 0), (0, 0))
            and x.shape[1] % window[0] == x.shape[2] % window[1] == 0
        )
        if tiled:
            return _tiled_gradient(x, y, dy, window)
        return _general_gradient(x, y, dy, window, stride, pads)

    def default(x: Array, y: Array, dy: Array) -> Array:
        return jax.vjp(lambda x: _plain(x, window, stride, pads), x)[1](dy)[0]

    return (lax.platform_dependent(x, y, dy, cpu=cpu, default=default),)


_max_pool.defvjp(_forward, _backward)


def _tiled_gradient(x: Array, y: Array, dy: Array, window: Pair) -> Array:
    """Windows that tile the image: every element belongs to exactly one."""
    rows, columns = window
    batch, height, width, channels = y.shape
    tiles = x.reshape(batch, height, rows, width, columns, channels)
    taken = jnp.zeros(y.shape, bool)
    lines = []
    for i in range(rows):
        line = []
        for j in range(columns):
            first = (tiles[:, :, i, :, j] == y) & ~taken
            taken |= first
            line.append(jnp.where(first, dy, 0))
        lines.append(jnp.stack(line, 3))
    return jnp.stack(lines, 2).reshape(x.shape)


def _general_gradient(
    x: Array, y: Array, dy: Array, window: Pair, stride: Pair, pads: Pads
) -> Array:
    """Windows that overlap, leave gaps or reach over the border."""
    size = [n + sum(p) for n, p in zip(x.shape[1:3], pads, strict=True)]
    padded = jnp.pad(x, _around(pads))
    real = np.pad(np.ones(x.shape[1:3], bool), pads)
    reach = [(m - 1) * s + 1 for m, s in zip(y.shape[1:3], stride, strict=True)]
    taken = jnp.zeros(y.shape, bool)
    total = jnp.zeros((x.shape[0], *size, x.shape[3]), dy.dtype)
    for i in range(window[0]):
        for j in range(window[1]):
            rows = slice(i, i + reach[0], stride[0])
            columns = slice(j, j + reach[1], stride[1])
            inside = real[rows, columns][None, :, :, None]
            first = (padded[:, rows, columns] == y) & inside & ~taken
            taken |= first
            spread = [(i, size[0] - i - reach[0]), (j, size[1] - j - reach[1])]
            total += lax.pad(
                jnp.where(first, dy, 0),
                np.zeros((), dy.dtype),
                [(0, 0, 0), *((*p, s - 1) for p, s in zip(spread, stride, strict=True)), (0, 0, 0)],
            )
    (top, _), (left, _) = pads
    return total[:, top : top + x.shape[1], left : left + x.shape[2]]
