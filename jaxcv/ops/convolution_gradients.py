"""Gradients of a convolution in forms that XLA compiles well on CPU, also inside loops.

Inside a ``while`` loop XLA:CPU calls its fast convolution only when the dimension numbers are
NHWC and HWIO. Autodiff's gradients have others and run a hundred times slower there. The forms
below are ordinary convolutions in canonical order, slices, transposes and matrix products.

With y[n, p, q, o] = Σ_{i, j, c} x̂[n, p·s + i, q·s + j, c] · k[i, j, c, o], x̂ the padded input:

* ∂L/∂x̂[n, a, b, c] = Σ dy[n, p, q, o] · k[i, j, c, o] over p·s + i = a, q·s + j = b,
* ∂L/∂k[i, j, c, o] = Σ_{n, p, q} x̂[n, p·s + i, q·s + j, c] · dy[n, p, q, o].
"""

import jax.numpy as jnp
from jax import Array, lax

from jaxcv.ops.padding import Pads, Pair

DIMENSIONS = ("NHWC", "HWIO", "NHWC")


def input_gradient(dy: Array, kernel: Array, size: Pair, stride: Pair, pads: Pads) -> Array:
    """The convolution of ``dy``, spread by the stride, with the kernel turned by 180°."""
    window = kernel.shape[:2]
    edges = []
    for n, k, s, (low, _), m in zip(size, window, stride, pads, dy.shape[1:3], strict=True):
        before = k - 1 - low
        edges.append((before, n + k - 1 - before - ((m - 1) * s + 1)))
    return lax.conv_general_dilated(
        dy,
        jnp.flip(kernel, (0, 1)).swapaxes(2, 3),
        (1, 1),
        edges,
        lhs_dilation=stride,
        dimension_numbers=DIMENSIONS,
    )


def filter_gradient_by_taps(x: Array, dy: Array, window: Pair, stride: Pair, pads: Pads) -> Array:
    """One matrix product per kernel element: (shifted slice of x)ᵀ · dy."""
    rows, columns = dy.shape[1:3]
    padded = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    dy_matrix = dy.reshape(-1, dy.shape[-1])
    taps = []
    for i in range(window[0]):
        for j in range(window[1]):
            tap = lax.slice(
                padded,
                (0, i, j, 0),
                (
                    x.shape[0],
                    i + (rows - 1) * stride[0] + 1,
                    j + (columns - 1) * stride[1] + 1,
                    x.shape[3],
                ),
                (1, *stride, 1),
            )
            taps.append(tap.reshape(-1, x.shape[3]).T @ dy_matrix)
    return jnp.stack(taps).reshape(*window, x.shape[3], dy.shape[3])
