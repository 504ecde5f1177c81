"""How far convolutions by minimal filtering (:mod:`jaxcv.ops.winograd`) may be off.

Written as matrix products, y = Aᵀ [Σ_c (G k_c Gᵀ) ∘ (Bᵀ d_c B)] A, every number of the result is a
sum of products of an element of the input, one of the kernel and six of the matrices. It is off by
at most ((1 + γ_6)(1 + γ_R) − 1) times the same sum of magnitudes: six entries of matrices are
rounded to float32, the same for all tiles, and R is how many of the other operations stand between
an element and the result, whatever the order of summation (Higham, *Accuracy and Stability of
Numerical Algorithms*, 2nd ed., sections 3.1 and 3.5). Where R is large, γ_R is the probabilistic
constant of :func:`jaxcv.verification.bounds.summation`.

Each side of a transformation of n numbers has a product and up to n − 1 additions. With tiles of
m×m: 4 (m + 2) for the data and the outputs, 6 for the kernel, and C for the channels; for the
kernel's gradient 4 (m + 2) for the data and the gradient itself, 2 m for the gradient of the
outputs, and as many as there are tiles.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from jaxcv.ops import winograd
from jaxcv.ops.padding import Padding, Pads, Steps, as_pads, as_pair, output_size
from jaxcv.ops.toom_cook import MATRICES, WINDOW
from jaxcv.verification.bounds import FLOAT32, gamma, summation

Images = Float[np.ndarray, "batch height width channels"]
Maps = Float[np.ndarray, "batch out_height out_width features"]
Kernel = Float[np.ndarray, "3 3 channels features"]


def convolution_error(x: Images, kernel: Kernel, pads: Pads, tile: int, u: float) -> Maps:
    """Bound of the error of `winograd.convolve`."""
    output, transform, data = (np.abs(matrix) for matrix in MATRICES[tile])
    size = [n + sum(pad) - WINDOW + 1 for n, pad in zip(x.shape[1:3], pads, strict=True)]
    tiles = _tiles(np.abs(x), pads, size, tile)
    tiles = np.einsum("ia,jb,nrsabc->ijnrsc", data, data, tiles, optimize=True)
    kernel = np.einsum("ia,jb,abco->ijco", transform, transform, np.abs(kernel), optimize=True)
    products = np.matmul(tiles, kernel[:, :, None, None])
    y = np.einsum("ai,bj,ijnrso->nrasbo", output, output, products, optimize=True)
    batch, rows, _, columns, _, features = y.shape
    y = y.reshape(batch, rows * tile, columns * tile, features)[:, : size[0], : size[1]]
    return _factor(4 * len(data) + 2 * WINDOW + kernel.shape[2], u) * y


def kernel_gradient_error(x: Images, dy: Maps, pads: Pads, tile: int, u: float) -> Kernel:
    """Bound of the error of `winograd.kernel_gradient`."""
    output, transform, data = (np.abs(matrix) for matrix in MATRICES[tile])
    size = dy.shape[1:3]
    tiles = _tiles(np.abs(x), pads, size, tile)
    tiles = np.einsum("ia,jb,nrsabc->ijnrsc", data, data, tiles, optimize=True)
    grid = winograd.Tiling(tile, 1).grid(size)
    whole = [(0, count * tile - n) for count, n in zip(grid, size, strict=True)]
    dy = np.pad(np.abs(dy), ((0, 0), *whole, (0, 0)))
    parts = dy.reshape(len(dy), grid[0], tile, grid[1], tile, dy.shape[3])
    gradients = np.einsum("ai,bj,nrasbo->ijnrso", output, output, parts, optimize=True)
    products = np.einsum("ijnrsc,ijnrso->ijco", tiles, gradients, optimize=True)
    gradient = np.einsum("ia,jb,ijco->abco", transform, transform, products, optimize=True)
    return _factor(4 * len(data) + 2 * tile + len(dy) * grid[0] * grid[1], u) * gradient


def tile_sizes(
    images: Sequence[int], kernel: Sequence[int], stride: Steps, padding: Padding
) -> tuple[int, int] | None:
    """The tiles of `ops.conv2d` of these shapes in float32, and those of its input's gradient.

    Returns:
        None where neither is computed by minimal filtering. Where one of the two is a sum of
        products after all, the other's tile stands for it: with its larger bound.
    """
    image, (rows, columns, channels, features) = (images[1], images[2]), kernel
    steps = as_pair(stride, "stride")
    pads = as_pads(padding, image, (rows, columns), steps)
    size = output_size(image, (rows, columns), steps, pads)
    turned = (rows, columns, features, channels)
    output = (images[0], *size, features)
    there = winograd.tiling(images, size, kernel, steps, np.float32)
    back = winograd.tiling(output, image, turned, steps, np.float32)
    tiles = [tiling.tile for tiling in (there, back) if tiling is not None]
    return (tiles[0], tiles[-1]) if tiles else None


def errors(
    x: Images,
    kernel: Float[np.ndarray, "rows columns channels features"],
    dy: Maps,
    stride: Steps,
    padding: Padding,
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """What may be off in `ops.conv2d` in float32 and its gradients with respect to x and kernel.

    To be added to the bound of sums of products, which some of the three may be.

    Returns:
        None where nothing is computed by minimal filtering.
    """
    tiles = tile_sizes(x.shape, kernel.shape, stride, padding)
    if tiles is None:
        return None
    image, size = (x.shape[1], x.shape[2]), (dy.shape[1], dy.shape[2])
    pads = as_pads(padding, image, (WINDOW, WINDOW), (1, 1))
    (top, bottom), (left, right) = (
        (WINDOW - 1 - low, n + low - m) for n, m, (low, _) in zip(image, size, pads, strict=True)
    )
    turned = kernel[::-1, ::-1].swapaxes(2, 3)
    around = ((top, bottom), (left, right))
    return (
        convolution_error(x, kernel, pads, tiles[0], FLOAT32),
        convolution_error(dy, turned, around, tiles[1], FLOAT32),
        kernel_gradient_error(x, dy, pads, tiles[0], FLOAT32),
    )


def _factor(roundings: int, u: float) -> float:
    entries = gamma(6, u)
    return entries + (1 + entries) * summation(roundings, u)


def _tiles(x: Images, pads: Pads, size: Sequence[int], tile: int) -> np.ndarray:
    """All tiles, [batch, row, column, element's row, element's column, channels]."""
    grid = winograd.Tiling(tile, 1).grid(size)
    reach = [count * tile + WINDOW - 1 for count in grid]
    full = np.zeros((len(x), *reach, x.shape[3]))
    ends = [pad[0] + n for pad, n in zip(pads, x.shape[1:3], strict=True)]
    # What lies outside of the image on one side, or is cut off by a negative padding.
    into = [
        slice(max(pad[0], 0), min(end, r)) for pad, end, r in zip(pads, ends, reach, strict=True)
    ]
    where = [
        slice(part.start - pad[0], part.stop - pad[0]) for part, pad in zip(into, pads, strict=True)
    ]
    full[:, into[0], into[1]] = x[:, where[0], where[1]]
    parts = np.lib.stride_tricks.sliding_window_view(full, (tile + 2, tile + 2), (1, 2))
    return parts[:, ::tile, ::tile].transpose(0, 1, 2, 4, 5, 3)
