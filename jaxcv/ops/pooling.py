"""Max, average and global average pooling.

The gradient of a maximum goes to one element of each window: the largest, and of several equal
ones the first in row-major order. On CPU it is found by comparison, since select-and-scatter,
which autodiff uses and other platforms keep, takes ten times as long there.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from jaxcv.ops.arrays import Values, as_images
from jaxcv.ops.padding import Padding, Pads, Pair, Steps, as_pads, as_pair, output_size


def max_pool2d(
    x: Float[Values, "batch height width channels"],
    window: Steps = 2,
    stride: Steps | None = None,
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
    x = as_images(x)
    size, steps, pads = _geometry(x, window, stride, padding)
    image = (x.shape[1], x.shape[2])
    output = output_size(image, size, steps, pads)
    for n, k, s, (low, _), m in zip(image, size, steps, pads, output, strict=True):
        if low >= k or (m - 1) * s - low >= n:
            raise ValueError(f"padding {pads} leaves a window of {size} with nothing but padding")
    return _max_pool(x, size, steps, pads)


def avg_pool2d(
    x: Float[Values, "batch height width channels"],
    window: Steps = 2,
    stride: Steps | None = None,
    padding: Padding = "valid",
) -> Float[Array, "batch out_height out_width channels"]:
    """Returns the sum of each window over its full size: zeros of the padding count.

    Args:
        x: feature maps, at least one.
        window: rows and columns of a window, one integer or two.
        stride: steps between windows; None means the window's own size.
        padding: as :func:`jaxcv.ops.conv2d` takes it.

    Raises:
        ValueError: no floating-point batch of images, an empty batch, or a window larger than the
            padded image.
    """
    x = as_images(x)
    size, steps, pads = _geometry(x, window, stride, padding)
    total = lax.reduce_window(
        x, np.zeros((), x.dtype), lax.add, (1, *size, 1), (1, *steps, 1), _around(pads)
    )
    return total / np.asarray(size[0] * size[1], x.dtype)


def global_avg_pool2d(
    x: Float[Values, "batch height width channels"],
) -> Float[Array, "batch channels"]:
    """Returns the mean of each feature map.

    Raises:
        ValueError: no floating-point batch of images, or an empty one.
    """
    return jnp.mean(as_images(x), axis=(1, 2))


def _geometry(x: Array, window, stride, padding) -> tuple[Pair, Pair, Pads]:
    image = (x.shape[1], x.shape[2])
    size = as_pair(window, "window")
    steps = size if stride is None else as_pair(stride, "stride")
    pads = as_pads(padding, image, size, steps)
    output_size(image, size, steps, pads)
    return size, steps, pads


def _around(pads: Pads) -> tuple[Pair, ...]:
    return ((0, 0), *pads, (0, 0))


def _plain(x: Array, window: Pair, stride: Pair, pads: Pads) -> Array:
    lowest = np.asarray(-np.inf, x.dtype)
    return lax.reduce_window(x, lowest, lax.max, (1, *window, 1), (1, *stride, 1), _around(pads))


def _tiles(x: Array, window: Pair, stride: Pair, pads: Pads) -> bool:
    """Whether the windows tile the image: every element belongs to exactly one."""
    whole = x.shape[1] % window[0] == x.shape[2] % window[1] == 0
    return whole and window == stride and pads == ((0, 0), (0, 0))


def _members(x: Array, window: Pair) -> list[Array]:
    """Returns the first element of every tile, the second, … in row-major order."""
    batch, height, width, channels = x.shape
    rows, columns = window
    tiles = x.reshape(batch, height // rows, rows, width // columns, columns, channels)
    return [tiles[:, :, i, :, j] for i in range(rows) for j in range(columns)]


def _largest(x: Array, window: Pair, stride: Pair, pads: Pads) -> Array:
    def cpu(x: Array) -> Array:
        # A third of the time of reduce_window.
        return functools.reduce(jnp.maximum, _members(x, window))

    def default(x: Array) -> Array:
        return _plain(x, window, stride, pads)

    if not _tiles(x, window, stride, pads):
        return default(x)
    return lax.platform_dependent(x, cpu=cpu, default=default)


_max_pool = jax.custom_vjp(_largest, nondiff_argnums=(1, 2, 3))


def _forward(x: Array, window: Pair, stride: Pair, pads: Pads):
    return _largest(x, window, stride, pads), x


def _backward(window: Pair, stride: Pair, pads: Pads, x: Array, dy: Array):
    def cpu(x: Array, dy: Array) -> Array:
        if _tiles(x, window, stride, pads):
            return _tiled_gradient(x, dy, window)
        return _general_gradient(x, dy, window, stride, pads)

    def default(x: Array, dy: Array) -> Array:
        return jax.vjp(lambda x: _plain(x, window, stride, pads), x)[1](dy)[0]

    return (lax.platform_dependent(x, dy, cpu=cpu, default=default),)


_max_pool.defvjp(_forward, _backward)


def _tiled_gradient(x: Array, dy: Array, window: Pair) -> Array:
    """Each tile's gradient, spread over the tile and kept where the winner stands."""
    members = _members(x, window)
    winner = _winner(members, [np.ones(dy.shape[1:3], bool)] * len(members))
    numbers = jnp.arange(len(members), dtype=winner.dtype)
    numbers = numbers.reshape(1, 1, window[0], 1, window[1], 1)
    spread = (slice(None), slice(None), None, slice(None), None)
    return jnp.where(winner[spread] == numbers, dy[spread], 0).reshape(x.shape)


def _general_gradient(x: Array, dy: Array, window: Pair, stride: Pair, pads: Pads) -> Array:
    """Windows that overlap, leave gaps or reach over the border."""
    size = [n + sum(p) for n, p in zip(x.shape[1:3], pads, strict=True)]
    padded = jnp.pad(x, _around(pads))
    real = np.pad(np.ones(x.shape[1:3], bool), pads)
    reach = [(m - 1) * s + 1 for m, s in zip(dy.shape[1:3], stride, strict=True)]
    offsets = list(np.ndindex(*window))
    seen = [
        (slice(i, i + reach[0], stride[0]), slice(j, j + reach[1], stride[1])) for i, j in offsets
    ]
    winner = _winner([padded[:, r, c] for r, c in seen], [real[r, c] for r, c in seen])
    total = jnp.zeros((x.shape[0], *size, x.shape[3]), dy.dtype)
    for number, (i, j) in enumerate(offsets):
        spread = [(i, size[0] - i - reach[0]), (j, size[1] - j - reach[1])]
        total += lax.pad(
            jnp.where(winner == number, dy, 0),
            np.zeros((), dy.dtype),
            [(0, 0, 0), *((*p, s - 1) for p, s in zip(spread, stride, strict=True)), (0, 0, 0)],
        )
    (top, _), (left, _) = pads
    return total[:, top : top + x.shape[1], left : left + x.shape[2]]


def _winner(members: list[Array], inside: list[np.ndarray]) -> Array:
    """Which member of each window is the largest, the first of several; the image's alone count.

    Members are compared with one another, never with the maximum that the forward pass found: the
    compiler may compute them anew on the way here and round them otherwise, and then no member
    equals it.
    """
    small = jnp.uint8 if len(members) <= 256 else jnp.int32
    winner = jnp.zeros(members[0].shape, small)
    best, found = members[0], inside[0]
    for number, (member, real) in enumerate(zip(members[1:], inside[1:], strict=True), 1):
        better = member > best
        if not (found.all() and real.all()):
            better = (better | ~found[:, :, None]) & real[:, :, None]
        winner = jnp.where(better, jnp.asarray(number, small), winner)
        best = jnp.where(better, member, best)
        found = found | real
    return winner
