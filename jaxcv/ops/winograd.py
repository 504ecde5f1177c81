"""3×3 convolutions of stride 1 with a quarter of the multiplications, for CPU.

After Winograd's minimal filtering (Lavin & Gray 2016, "Fast Algorithms for Convolutional Neural
Networks", section 4). With the matrices of :mod:`jaxcv.ops.toom_cook`, m×m outputs of one feature
are

    Aᵀ [Σ_c (G k_c Gᵀ) ∘ (Bᵀ d_c B)] A,

where d_c is the (m + 2)×(m + 2) tile of channel c that they see. The sums over channels are
(m + 2)² matrix products of many tiles, and with m = 4 an output costs 36 / 16 multiplications
instead of 9. The gradient of the kernel is the same turned round: with E = A dy Aᵀ it is
Gᵀ [Σ_tiles (Bᵀ d B) ∘ E] G. The gradient of the input is a convolution with the kernel turned by
180°, hence of this kind again.

Rounding errors are larger than those of adding up products. With γ_n as in
:mod:`jaxcv.verification.bounds`, a result is off by at most about γ_{C + 27} of

    |A|ᵀ [Σ_c (|G| |k_c| |G|ᵀ) ∘ (|B|ᵀ |d_c| |B|)] |A|,

C the number of terms of the sum; measured, with normal numbers and m = 4, by 8e-7 of the results'
standard deviation, where sums of products are off by 1e-7. A number that is not finite spreads over
its tile.

Some images at a time, so that the transformed tiles stay in the cache. Wall milliseconds on two
cores (AMD EPYC, Zen 4), float32, all of a row in turn in one run; "plain" is what the other modules
here make of it:

====================  =============  =============  =============
images, x → features  forward        input grad.    kernel grad.
                      plain  here    plain  here    plain  here
====================  =============  =============  =============
500, 30×30×24→64      97     78      123    76      182    69
500, 15×15×64→64      39     26      39     26      89     36
500, 14×14×64→256     168    97      205    85      179    98
500, 7×7×256→256      149    61      149    62      158    76
500, 6×6×256→256      100    44      140    61      123    50
500, 3×3×256→256      28     12      28     12      29     15
128, 16×16×64→64      11.2   6.9     11.1   6.8     21.7   9.8
128, 8×8×64→64        5.1    1.8     2.8    1.8     4.5    2.8
128, 16×16×32→32      2.9    2.7     2.9    2.7     7.0    4.5
128, 8×8×128→128      10.9   5.3     11.0   5.3     14.6   6.7
====================  =============  =============  =============
"""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from jaxcv.ops.padding import Pads, Pair
from jaxcv.ops.separate import separately
from jaxcv.ops.toom_cook import MATRICES, WINDOW

_PANEL = 2**21
"""Elements of transformed tiles and products that stay in a third-level cache."""

_CHANNELS = 24
"""Channels and features from which it pays to transform them."""

_TILES = 64
"""Tiles from which a product of them is worth the transformation of the kernel."""

_PRODUCTS = (((2,), (1,)), ((0,), (0,)))

_DTYPES = (jnp.dtype(jnp.bfloat16), jnp.dtype(jnp.float32))


class Form(NamedTuple):
    """How a convolution is computed: outputs in tiles of m×m, so many images at a time."""

    tile: int
    images: int

    def grid(self, size: Sequence[int]) -> Pair:
        """Rows and columns of tiles that cover an output."""
        rows, columns = (-(-n // self.tile) for n in size)
        return rows, columns


def form(
    batch: int,
    size: Pair,
    kernel: Sequence[int],
    stride: Pair,
    dtype: jax.typing.DTypeLike,
    precision: lax.PrecisionLike = None,
) -> Form | None:
    """The form for a convolution, or None where adding up products is better.

    Args:
        batch: how many images.
        size: rows and columns of the output.
        kernel: its shape, (rows, columns, channels, features).
        stride: of the window.
        dtype: of the images. Proofs are what 64 bits are for, so they are left alone.
        precision: asked for; whoever asks for one gets sums of products.
    """
    *window, channels, features = kernel
    if (
        tuple(window) != (WINDOW, WINDOW)
        or stride != (1, 1)
        or min(channels, features) < _CHANNELS
        or jnp.dtype(dtype) not in _DTYPES
        or precision is not None
    ):
        return None

    def multiplications(tile: int) -> int:
        return math.prod(Form(tile, 1).grid(size)) * (tile + WINDOW - 1) ** 2

    tile = min(sorted(MATRICES, reverse=True), key=multiplications)
    if 2 * multiplications(tile) > math.prod((*size, *window)):
        return None
    tiles = math.prod(Form(tile, 1).grid(size))
    wanted = _PANEL // ((tile + WINDOW - 1) ** 2 * (channels + features) * tiles)
    images = max((n for n in range(1, min(batch, wanted) + 1) if batch % n == 0), default=1)
    return Form(tile, images) if images * tiles >= _TILES else None


# Compiled once for each shape, since an eager loop would be compiled at every call.
@functools.partial(jax.jit, static_argnums=(2, 3))
def convolve(
    x: Float[Array, "batch height width channels"],
    kernel: Float[Array, "3 3 channels features"],
    pads: Pads,
    how: Form,
) -> Float[Array, "batch out_height out_width features"]:
    """The convolution with stride 1; pads may be negative, which leaves rows and columns out."""
    size = (x.shape[1] + sum(pads[0]) - 2, x.shape[2] + sum(pads[1]) - 2)
    grid, matrices = how.grid(size), MATRICES[how.tile]
    wide = _wide(x)
    transformed = kernel.astype(wide)
    for axis in (0, 1):
        transformed = _along(matrices.kernel, _parts(transformed, axis), 0)
    # Without the barrier it would be transformed anew for every part.
    transformed = lax.optimization_barrier(transformed.reshape(-1, *kernel.shape[2:]))

    parted = _in_parts(x, how)

    def fill(y: Array, number: Array) -> tuple[Array, None]:
        tiles = _data(_part(parted, number), pads, grid, how.tile)
        products = lax.dot_general(tiles, transformed, _PRODUCTS)
        outputs = _outputs(products, grid, size, how.tile).astype(y.dtype)
        return lax.dynamic_update_index_in_dim(y, outputs, number, 1), None

    count = parted.shape[1]
    y = jnp.zeros((how.images, count, *size, kernel.shape[3]), x.dtype)
    y, _ = lax.scan(fill, y, jnp.arange(count))
    return y.reshape(x.shape[0], *y.shape[2:])


@functools.partial(jax.jit, static_argnums=(2, 3))
def kernel_gradient(
    x: Float[Array, "batch height width channels"],
    dy: Float[Array, "batch out_height out_width features"],
    pads: Pads,
    how: Form,
) -> Float[Array, "3 3 channels features"]:
    """∂L/∂kernel of :func:`convolve`, added up in float32."""
    size = (dy.shape[1], dy.shape[2])
    grid, matrices = how.grid(size), MATRICES[how.tile]
    parted, dy_parted = _in_parts(x, how), _in_parts(dy, how)

    def add(total: Array, number: Array) -> tuple[Array, None]:
        tiles = _data(_part(parted, number), pads, grid, how.tile)
        # XLA:CPU computes this product at half the rate when it has to turn the tiles itself.
        turned = separately(lambda tiles: tiles.swapaxes(1, 2), tiles)
        gradients = _gradients(_part(dy_parted, number), grid, how.tile)
        return total + lax.dot_general(turned, gradients, _PRODUCTS), None

    width = how.tile + WINDOW - 1
    start = jnp.zeros((width * width, x.shape[3], dy.shape[3]), _wide(x))
    total, _ = lax.scan(add, start, jnp.arange(parted.shape[1]))
    gradient = total.reshape(width, width, *total.shape[1:])
    for axis in (0, 1):
        gradient = _along(matrices.kernel.T, _parts(gradient, axis), 0)
    return gradient.astype(x.dtype)


def _wide(x: Array) -> np.dtype:
    return jnp.promote_types(x.dtype, jnp.float32)


def _in_parts(x: Array, how: Form) -> Float[Array, "images parts height width channels"]:
    """A part takes images from all over the batch: from all devices that share it."""
    return x.reshape(how.images, x.shape[0] // how.images, *x.shape[1:])


def _part(x: Array, number: Array) -> Float[Array, "images height width channels"]:
    return lax.dynamic_index_in_dim(x, number, 1, keepdims=False)


def _parts(x: Array, axis: int) -> list[Array]:
    """Its slices along an axis that a transformation is about to put in front."""
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


def _data(x: Array, pads: Pads, grid: Pair, tile: int) -> Float[Array, "elements tiles channels"]:
    """Bᵀ d B of all tiles, which overlap by two rows and columns."""
    matrix = MATRICES[tile].data
    edges = [
        (low, count * tile + WINDOW - 1 - size - low, 0)
        for (low, _), count, size in zip(pads, grid, x.shape[1:3], strict=True)
    ]
    reach = [(count - 1) * tile + 1 for count in grid]

    def rows(x: Array) -> Array:
        x = x.astype(_wide(x))
        x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *edges, (0, 0, 0)])
        return _along(matrix, [x[:, i : i + reach[0] : tile] for i in range(len(matrix))], 0)

    def columns(x: Array) -> Array:
        parts = [x[:, :, :, i : i + reach[1] : tile] for i in range(len(matrix))]
        return _along(matrix, parts, 0).reshape(len(matrix) ** 2, -1, x.shape[-1])

    return separately(columns, separately(rows, x))


def _outputs(products: Array, grid: Pair, size: Pair, tile: int) -> Array:
    """Aᵀ M A of all tiles, put together."""
    matrix = MATRICES[tile].output
    features = products.shape[-1]

    def columns(products: Array) -> Array:
        width = matrix.shape[1]
        parts = _parts(products.reshape(width, width, -1, *grid, features), 0)
        return _along(matrix, parts, 4)

    y = _along(matrix, _parts(separately(columns, products), 0), 2)
    return y.reshape(-1, grid[0] * tile, grid[1] * tile, features)[:, : size[0], : size[1]]


def _gradients(dy: Array, grid: Pair, tile: int) -> Float[Array, "elements tiles features"]:
    """A dy Aᵀ of all tiles."""
    matrix = MATRICES[tile].output.T
    edges = [(0, n * tile - size, 0) for n, size in zip(grid, dy.shape[1:3], strict=True)]

    def rows(dy: Array) -> Array:
        dy = dy.astype(_wide(dy))
        dy = lax.pad(dy, jnp.zeros((), dy.dtype), [(0, 0, 0), *edges, (0, 0, 0)])
        return _along(matrix, [dy[:, i::tile] for i in range(tile)], 0)

    def columns(dy: Array) -> Array:
        parts = [dy[:, :, :, i::tile] for i in range(tile)]
        return _along(matrix, parts, 0).reshape(len(matrix) ** 2, -1, dy.shape[-1])

    return separately(columns, separately(rows, dy))
