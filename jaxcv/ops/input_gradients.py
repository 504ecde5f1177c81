"""The gradient of a convolution with respect to its input, in forms that XLA:CPU compiles well.

Inside a ``while`` loop XLA:CPU calls its fast convolution only when the dimension numbers are
NHWC and HWIO. Autodiff's gradients have others and run a hundred times slower there. The forms
below are ordinary convolutions in canonical order.

With y[n, p, q, o] = Σ_{i, j, c} x̂[n, p·s + i, q·s + j, c] · k[i, j, c, o] and x̂ the padded input,
∂L/∂x̂[n, a, b, c] = Σ dy[n, p, q, o] · k[i, j, c, o] over all p·s + i = a and q·s + j = b.
"""

import dataclasses

import jax.numpy as jnp
from jax import Array, lax

from jaxcv.ops import winograd
from jaxcv.ops.narrow import columns_at_once, convolve
from jaxcv.ops.padding import Pads, Pair


def input_gradient(
    dy: Array,
    kernel: Array,
    size: Pair,
    stride: Pair,
    pads: Pads,
    precision: lax.PrecisionLike = None,
) -> Array:
    """Returns ∂L/∂x for an image of ``size``; a precision asks for sums of products.

    Stride 1 takes one convolution of ``dy`` with the kernel turned by 180°. A larger stride would
    spread zeros between the elements of ``dy`` and multiply by them, so there each phase of the
    output (its rows r, r + s, r + 2s, …, and columns alike) is a convolution with the kernel
    elements that reach it: s² times fewer multiplications. Measured in a loop, 128 images, 3×3,
    stride 2, processor time against the spread convolution: 16×16×64→64 0.54, 32×32×16→32 0.57,
    16×16×32→64 0.79.
    """
    vertical, horizontal = (
        [_phase(r, n, k, s, low) for r in range(s)]
        for n, k, s, (low, _) in zip(size, kernel.shape[:2], stride, pads, strict=True)
    )
    turned = kernel.swapaxes(2, 3)
    grid = [[_part(dy, turned, v, h, stride, precision) for h in horizontal] for v in vertical]
    if stride == (1, 1):
        return grid[0][0]
    dx = jnp.stack([jnp.stack(line, 3) for line in grid], 2)
    batch, rows, _, columns, _, channels = dx.shape
    dx = dx.reshape(batch, rows * stride[0], columns * stride[1], channels)
    return dx[:, : size[0], : size[1]]


@dataclasses.dataclass(frozen=True)
class _Phase:
    """Rows (or columns) r, r + s, … of the input: which kernel elements reach them."""

    first: int  # kernel elements first, first + s, … reach this phase
    taps: int  # how many they are
    base: int  # output t of the phase meets dy[t + base − u] at its u-th element
    count: int  # rows of a phase, equal for all phases: those past the image are cut off


def _phase(r: int, size: int, window: int, stride: int, low: int) -> _Phase:
    base, first = divmod(r + low, stride)
    return _Phase(first, len(range(first, window, stride)), base, -(-size // stride))


def _part(
    dy: Array, turned: Array, v: _Phase, h: _Phase, stride: Pair, precision: lax.PrecisionLike
) -> Array:
    if not (v.taps and h.taps):
        return jnp.zeros((dy.shape[0], v.count, h.count, turned.shape[3]), dy.dtype)
    edges = [
        (p.taps - 1 - p.base, p.count + p.base - m)
        for p, m in zip((v, h), dy.shape[1:3], strict=True)
    ]
    elements = jnp.flip(turned[v.first :: stride[0], h.first :: stride[1]], (0, 1))
    size = (v.count, h.count)
    tiling = winograd.tiling(dy.shape, size, elements.shape, stride, dy.dtype, precision)
    if tiling is not None:
        return winograd.convolve(dy, elements, (edges[0], edges[1]), tiling)
    together = columns_at_once(elements.shape, (1, 1), h.count)
    return convolve(dy, elements, (edges[0], edges[1]), together)
