"""Convolutions of few features, computed for several columns of the output at once.

XLA:CPU's convolution is a matrix product of patches and kernel, packed in panels. With 16 features
a packed patch meets only 16 numbers, and packing takes longer than multiplying. A kernel that is
wider by g − 1 columns and holds itself g times, each time one column further and as features of
their own, gives g neighbouring outputs: the same array, since columns and features lie next to each
other in memory, for a fraction of the patches and (kw + g − 1) / kw times the products.

Processor milliseconds (both cores, halved) in a ``fori_loop``, 128 images of 32×32, 3×3, float32:

=========  ================  ====  ====  ====
channels   what              g=1   g=2   g=4
=========  ================  ====  ====  ====
16 → 16    forward           11.1  6.8   9.9
16 → 16    filter gradient   12.1  7.2   10.1
3 → 16     forward           9.9   11.2  3.5
3 → 16     filter gradient   3.0   1.5
=========  ================  ====  ====  ====

With 32 features (16×16×32→32) one column at a time is faster: forward 4.4 against 6.0, filter
gradient 6.2 against 6.7.
"""

import jax.numpy as jnp
from jax import Array, lax

from jaxcv.ops.padding import DIMENSIONS, Pads, Pair

_NARROW = 16
"""Features up to which several columns at once are faster."""


def columns_at_once(kernel: tuple[int, ...], stride: Pair, columns: int) -> int:
    """Returns g: how many of the output's columns are computed together.

    Args:
        kernel: shape of the kernel, (rows, columns, channels, features).
        stride: of the window; larger ones gain nothing.
        columns: of the output, a multiple of what is returned.
    """
    _, width, channels, features = kernel
    if features > _NARROW or width < 3 or stride != (1, 1):
        return 1
    wanted = 4 if channels <= 4 else 2
    return wanted if columns % wanted == 0 else 1


def convolve(x: Array, kernel: Array, pads: Pads, together: int, precision=None) -> Array:
    """The convolution with stride 1, so many columns of the output ``together``."""
    copies = [
        jnp.pad(kernel, ((0, 0), (shift, together - 1 - shift), (0, 0), (0, 0)))
        for shift in range(together)
    ]
    y = lax.conv_general_dilated(
        x,
        jnp.concatenate(copies, 3),
        (1, together),
        pads,
        dimension_numbers=DIMENSIONS,
        precision=precision,
    )
    return y.reshape(*y.shape[:2], y.shape[2] * together, kernel.shape[3])


def side_by_side(dy: Array, together: int) -> Array:
    """Neighbouring columns as features: what the wider kernel's output is."""
    batch, rows, columns, features = dy.shape
    return dy.reshape(batch, rows, columns // together, together * features)


def overlaid(wide: Array, together: int) -> Array:
    """The kernel's gradient from the wider one's, [channels, rows, columns + g − 1, g · features].

    Every copy is the same kernel, so its gradient is the sum over the copies, each taken from where
    it lies.
    """
    channels, rows, columns, features = wide.shape
    parts = wide.reshape(channels, rows, columns, together, features // together)
    width = columns - (together - 1)
    return sum(
        (parts[:, :, shift : shift + width, shift] for shift in range(1, together)),
        parts[:, :, :width, 0],
    )
