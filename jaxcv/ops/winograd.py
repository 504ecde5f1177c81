"""3×3 convolutions of stride 1 with a quarter to a half of the multiplications, for CPU.

After Winograd's minimal filtering (Lavin & Gray 2016, "Fast Algorithms for Convolutional Neural
Networks", section 4). With the matrices of :mod:`jaxcv.ops.toom_cook`, m×m outputs of one feature
are

    Aᵀ [Σ_c (G k_c Gᵀ) ∘ (Bᵀ d_c B)] A,

where d_c is the (m + 2)×(m + 2) tile of channel c that they see. The sums over channels are
(m + 2)² matrix products of many tiles, and with m = 4 an output costs 36 / 16 multiplications
instead of 9, where no tile reaches beyond the image. The gradient of the kernel is the same turned
round: with E = A dy Aᵀ it is Gᵀ [Σ_tiles (Bᵀ d B) ∘ E] G. The gradient of the input is a
convolution with the kernel turned by 180°, hence of this kind again.

Rounding errors are larger than those of adding up products, and those of an output come from all of
its tile: :mod:`jaxcv.verification.minimal_filtering` bounds them. Measured, with normal numbers, as
a share of the results' standard deviation: 4.5e-7 for 24 channels, 5.4e-7 for 64, 8.4e-7 for 256,
where sums of products are off by 1.3e-7, 2.1e-7 and 3.8e-7. A number that is not finite makes NaN
of all tiles that see it.

Some images at a time, so that the transformed tiles stay in the cache. Wall milliseconds on two
cores (AMD EPYC, Zen 4), float32, all of a row in turn in one run; "plain" is what the other modules
here make of it:

====================  =============  =============  =============
images, x → features  forward        input grad.    kernel grad.
                      plain  here    plain  here    plain  here
====================  =============  =============  =============
500, 30×30×24→64      63     59      109    64     137    73
500, 15×15×64→64      40     26      39     27     83     38
500, 14×14×64→256     144    79      214    115    180    133
500, 7×7×256→256      159    73      158    98     170    96
500, 6×6×256→256      102    47      146    96     118    61
500, 3×3×256→256      29     20      30     28     31     16
128, 16×16×64→64      11.6   7.0     11.9   8.3    17.6   11.2
128, 8×8×64→64        2.9    2.1     3.1    2.2    4.4    3.2
128, 16×16×32→32      3.2    4.1     3.1    2.9    7.4    4.6
128, 8×8×128→128      11.5   5.6     11.6   6.8    17.0   8.0
====================  =============  =============  =============
"""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from jaxcv.ops.arrays import varying_alike
from jaxcv.ops.padding import Pads, Pair
from jaxcv.ops.separate import separately
from jaxcv.ops.toom_cook import MATRICES, WINDOW

_PANEL = 2**22
"""Elements of transformed tiles and of products in one part, about what a cache of 32 MB holds."""

_CHANNELS = 24
"""Channels and features from which it pays to transform them."""

_TILES = 64
"""Tiles from which a product of them is worth the transformation of the kernel."""

_DEVICES = 8
"""Devices up to which each has a share in every part of a batch."""

# A product for each element of a tile: the first axis.
_PRODUCTS = (((2,), (1,)), ((0,), (0,)))

_DTYPES = (jnp.dtype(jnp.bfloat16), jnp.dtype(jnp.float32))


class Tiling(NamedTuple):
    """How a convolution is computed: outputs in tiles of m×m, so many images at a time."""

    tile: int
    images: int

    def grid(self, size: Sequence[int]) -> Pair:
        """Rows and columns of tiles that cover an output."""
        rows, columns = (-(-n // self.tile) for n in size)
        return rows, columns


def tiling(
    x: Sequence[Any],
    size: Pair,
    kernel: Sequence[int],
    stride: Pair,
    dtype: jax.typing.DTypeLike,
    precision: lax.PrecisionLike = None,
) -> Tiling | None:
    """The tiling of a convolution, or None where products are added up as they are.

    Those are kernels other than 3×3, strides, fewer than 24 channels or features, fewer than 64
    tiles, outputs that tiles fit badly (2×2), images of which a single one leaves the cache,
    batches with no divisor that keeps the cache full, numbers of other types than float32 and
    bfloat16, and whatever is asked for with a precision.

    Args:
        x: shape of the images, (batch, height, width, channels); an unknown size is a symbol.
        size: rows and columns of the output.
        kernel: its shape, (rows, columns, channels, features).
        stride: of the window.
        dtype: of the images.
        precision: asked for by the caller; `jax_default_matmul_precision` counts as well.
    """
    *window, channels, features = kernel
    if (
        tuple(window) != (WINDOW, WINDOW)
        or stride != (1, 1)
        or min(channels, features) < _CHANNELS
        or jnp.dtype(dtype) not in _DTYPES
        or (precision or jax.config.values["jax_default_matmul_precision"]) is not None
        or not all(isinstance(n, int) for n in x)  # an export for any batch
    ):
        return None

    def multiplications(tile: int) -> int:
        return math.prod(Tiling(tile, 1).grid(size)) * (tile + WINDOW - 1) ** 2

    tile = min(sorted(MATRICES, reverse=True), key=multiplications)
    if 2 * multiplications(tile) > math.prod((*size, *window)):
        return None
    batch, tiles = x[0], math.prod(Tiling(tile, 1).grid(size))
    most = _PANEL // ((tile + WINDOW - 1) ** 2 * (channels + features) * tiles)
    images = batch if batch <= most else _divisor(batch, most)
    return Tiling(tile, images) if images * tiles >= _TILES else None


def _divisor(batch: int, most: int) -> int:
    """The largest divisor of the batch up to `most` of which each device has a share, or 0."""
    shared = math.gcd(batch, _DEVICES)
    found = (n for n in range(shared, most + 1, shared) if batch % n == 0)
    return max(found, default=0)


# Compiled once for each shape, since an eager loop would be compiled at every call.
@functools.partial(jax.jit, static_argnums=(2, 3))
def convolve(
    x: Float[Array, "batch height width channels"],
    kernel: Float[Array, "3 3 channels features"],
    pads: Pads,
    how: Tiling,
) -> Float[Array, "batch out_height out_width features"]:
    """The convolution with stride 1; pads may be negative, which leaves rows and columns out."""
    size = (x.shape[1] + sum(pads[0]) - 2, x.shape[2] + sum(pads[1]) - 2)
    transformed = _both_sides(MATRICES[how.tile].kernel, kernel.astype(_wide(x)))
    transformed = transformed.reshape(-1, *kernel.shape[2:])
    parted = _in_parts(x, how)

    def fill(y: Array, number: Array) -> tuple[Array, None]:
        tiles = _data(parted, number, pads, size, how)
        products = lax.dot_general(tiles, transformed, _PRODUCTS)
        outputs = _outputs(products, size, how).astype(y.dtype)
        return lax.dynamic_update_index_in_dim(y, outputs, number, 1), None

    count = parted.shape[1]
    y = _zeros((how.images, count, *size, kernel.shape[3]), x.dtype, x, kernel)
    y, _ = lax.scan(fill, y, jnp.arange(count))
    return y.reshape(x.shape[0], *y.shape[2:])


@functools.partial(jax.jit, static_argnums=(2, 3))
def kernel_gradient(
    x: Float[Array, "batch height width channels"],
    dy: Float[Array, "batch out_height out_width features"],
    pads: Pads,
    how: Tiling,
) -> Float[Array, "3 3 channels features"]:
    """∂L/∂kernel of :func:`convolve`, added up in float32."""
    size = (dy.shape[1], dy.shape[2])
    parted, dy_parted = _in_parts(x, how), _in_parts(dy, how)

    def add(total: Array, number: Array) -> tuple[Array, None]:
        tiles = _data(parted, number, pads, size, how)
        # XLA:CPU computes this product at half the rate when it has to turn the tiles itself.
        turned = separately(lambda tiles: tiles.swapaxes(1, 2), tiles)
        gradients = _gradients(dy_parted, number, size, how)
        return total + lax.dot_general(turned, gradients, _PRODUCTS), None

    width = how.tile + WINDOW - 1
    start = _zeros((width * width, x.shape[3], dy.shape[3]), _wide(x), x, dy)
    total, _ = lax.scan(add, start, jnp.arange(parted.shape[1]))
    total = total.reshape(width, width, *total.shape[1:])
    return _both_sides(MATRICES[how.tile].kernel.T, total).astype(x.dtype)


def _wide(x: Array) -> np.dtype:
    return jnp.promote_types(x.dtype, jnp.float32)


def _in_parts(x: Array, how: Tiling) -> Float[Array, "images parts height width channels"]:
    """A part takes images from all over the batch: from all devices that share it."""
    return x.reshape(how.images, x.shape[0] // how.images, *x.shape[1:])


def _padded(
    x: Array, number: Array, edges: Sequence[tuple[int, int]]
) -> Float[Array, "images height width channels"]:
    """One part, widened to at least 32 bits, with zeros around it."""
    part = lax.dynamic_index_in_dim(x, number, 1, keepdims=False).astype(_wide(x))
    config = [(0, 0, 0), *((low, high, 0) for low, high in edges), (0, 0, 0)]
    return lax.pad(part, jnp.zeros((), part.dtype), config)


def _zeros(shape: Sequence[int], dtype: np.dtype, *like: Array) -> Array:
    """What a loop starts from that adds to it what is computed from such arrays.

    Under `jax.shard_map` a loop returns what varies between the same devices as what it was given.
    """
    return varying_alike(jnp.zeros(shape, dtype), *like)[0]


def _slices(x: Array, axis: int) -> list[Array]:
    """Its slices along an axis."""
    return [lax.index_in_dim(x, i, axis, keepdims=False) for i in range(x.shape[axis])]


def _along(matrix: np.ndarray, parts: Sequence[Array], axis: int) -> Array:
    """The matrix times the parts, its rows along a new axis.

    One expression for all of its elements, zeros of the matrix included: XLA fuses it into one
    loop, where a stack of sums would be several and a copy.
    """
    shape = [1] * (parts[0].ndim + 1)
    shape[axis] = len(matrix)
    terms = [
        jnp.asarray(column.reshape(shape), part.dtype) * jnp.expand_dims(part, axis)
        for column, part in zip(matrix.T, parts, strict=True)
    ]
    return functools.reduce(jnp.add, terms)


def _both_sides(matrix: np.ndarray, x: Array) -> Array:
    """The matrix from the left and the right of the first two axes, which change places."""
    for axis in (0, 1):
        x = _along(matrix, _slices(x, axis), 0)
    return x


def _data(
    x: Array, number: Array, pads: Pads, size: Pair, how: Tiling
) -> Float[Array, "elements tiles channels"]:
    """Bᵀ d B of all tiles of one part, which overlap by two rows and columns."""
    matrix, grid = MATRICES[how.tile].data, how.grid(size)
    # What the outputs see: of rows that a negative padding cuts off, nothing.
    seen = [
        min(n, m + WINDOW - 1 - low)
        for n, m, (low, _) in zip(x.shape[2:4], size, pads, strict=True)
    ]
    edges = [
        (low, count * how.tile + WINDOW - 1 - low - n)
        for n, count, (low, _) in zip(seen, grid, pads, strict=True)
    ]
    reach = [(count - 1) * how.tile + 1 for count in grid]

    def rows(x: Array, number: Array) -> Array:
        padded = _padded(x[:, :, : seen[0], : seen[1]], number, edges)
        slices = [padded[:, i : i + reach[0] : how.tile] for i in range(len(matrix))]
        return _along(matrix, slices, 0)

    def columns(x: Array) -> Array:
        slices = [x[:, :, :, i : i + reach[1] : how.tile] for i in range(len(matrix))]
        return _along(matrix, slices, 0).reshape(len(matrix) ** 2, -1, x.shape[-1])

    return separately(columns, separately(rows, x, number))


def _outputs(
    products: Array, size: Pair, how: Tiling
) -> Float[Array, "images out_height out_width features"]:
    """Aᵀ M A of all tiles, put together."""
    matrix, grid = MATRICES[how.tile].output, how.grid(size)
    features = products.shape[-1]

    def columns(products: Array) -> Array:
        width = matrix.shape[1]
        each = products.reshape(width, width, -1, *grid, features)
        return _along(matrix, _slices(each, 0), 4)

    y = _along(matrix, _slices(separately(columns, products), 0), 2)
    y = y.reshape(-1, grid[0] * how.tile, grid[1] * how.tile, features)
    return y[:, : size[0], : size[1]]


def _gradients(
    dy: Array, number: Array, size: Pair, how: Tiling
) -> Float[Array, "elements tiles features"]:
    """A dy Aᵀ of all tiles of one part."""
    matrix = MATRICES[how.tile].output.T
    edges = [(0, count * how.tile - n) for n, count in zip(size, how.grid(size), strict=True)]

    def rows(dy: Array, number: Array) -> Array:
        padded = _padded(dy, number, edges)
        return _along(matrix, [padded[:, i :: how.tile] for i in range(how.tile)], 0)

    def columns(dy: Array) -> Array:
        slices = [dy[:, :, :, i :: how.tile] for i in range(how.tile)]
        return _along(matrix, slices, 0).reshape(len(matrix) ** 2, -1, dy.shape[-1])

    return separately(columns, separately(rows, dy, number))
