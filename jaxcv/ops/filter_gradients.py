"""The gradient of a convolution with respect to its kernel, in forms that XLA:CPU compiles well.

∂L/∂k[i, j, c, o] = Σ_{n, p, q} x̂[n, p·s + i, q·s + j, c] · dy[n, p, q, o] is itself a convolution:
x with channels and batch exchanged slides under dy, whose batch now plays the channels. The sum
runs over tens of thousands of products, for which XLA:CPU's convolution is badly blocked (a fifth
of its rate), but over some images at a time it is nearly as fast as the forward pass.
"""

import functools

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxcv.ops import winograd
from jaxcv.ops.filter_gradient_table import WHOLE, Form, filter_form
from jaxcv.ops.narrow import columns_at_once, overlaid, side_by_side
from jaxcv.ops.padding import DIMENSIONS, Pads, Pair


def filter_gradient(
    x: Array,
    dy: Array,
    window: Pair,
    stride: Pair,
    pads: Pads,
    precision: lax.PrecisionLike = None,
) -> Array:
    """Returns ∂L/∂kernel in the form that the table chooses, added up in float32 at least.

    A precision asks for sums of products.
    """
    kernel, size = (*window, x.shape[3], dy.shape[3]), (dy.shape[1], dy.shape[2])
    tiling = winograd.tiling(x.shape, size, kernel, stride, x.dtype, precision)
    if tiling is not None:
        return winograd.kernel_gradient(x, dy, pads, tiling)
    padded = _padded(x, dy, window, stride, pads)
    form = filter_form(x.shape, dy.shape, window)
    if form.images == WHOLE:
        gradient = _product(padded[:, :: stride[0], :: stride[1]], dy)
    else:
        together = columns_at_once(kernel, stride, dy.shape[2])
        gradient = _parts(padded, dy, window, stride, form, together)
    return gradient.astype(x.dtype)


def _padded(x: Array, dy: Array, window: Pair, stride: Pair, pads: Pads) -> Array:
    """``x`` with zeros around it, ending where the last window does."""
    edges = [
        # Less than none where stride or "valid" leave rows over.
        (low, (m - 1) * s + k - n - low, 0)
        for n, m, k, s, (low, _) in zip(
            x.shape[1:3], dy.shape[1:3], window, stride, pads, strict=True
        )
    ]
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *edges, (0, 0, 0)])


def _product(x: Array, dy: Array) -> Array:
    """The gradient of a kernel of one element, which is a dense layer for each pixel."""
    pixels = ((0, 1, 2), (0, 1, 2))
    wide = jnp.promote_types(x.dtype, jnp.float32)
    return lax.dot_general(x, dy, (pixels, ((), ())), preferred_element_type=wide)[None, None]


# Compiled once for each shape, since an eager loop would be compiled at every call.
@functools.partial(jax.jit, static_argnums=(2, 3, 4, 5))
def _parts(x: Array, dy: Array, window: Pair, stride: Pair, form: Form, together: int) -> Array:
    """The sum of convolutions, each of so many images; columns ``together`` if stride is 1."""
    wide = jnp.promote_types(x.dtype, jnp.float32)
    dy = side_by_side(dy, together)
    count = x.shape[0] // form.images
    xs = x.reshape(count, form.images, *x.shape[1:])
    dys = dy.reshape(count, form.images, *dy.shape[1:])

    def turned(x: Array, dy: Array) -> tuple[Array, Array]:
        return x.transpose(3, 1, 2, 0), dy.transpose(1, 2, 0, 3)

    def part(x: Array, dy: Array) -> Array:
        return lax.conv_general_dilated(
            x,
            dy,
            (1, 1),
            "VALID",
            rhs_dilation=(stride[0], stride[1] * together),
            dimension_numbers=DIMENSIONS,
            preferred_element_type=wide,
        )

    if count == 1:
        total = part(*turned(x, dy))
    elif form.abreast:
        # Turned all at once: a kernel for each part would have to be compiled.
        xs, dys = lax.optimization_barrier(jax.vmap(turned)(xs, dys))
        total = sum((part(xs[n], dys[n]) for n in range(1, count)), part(xs[0], dys[0]))
    else:
        # Turned part by part, which stays in the cache.
        start = jnp.zeros((x.shape[3], window[0], window[1] + together - 1, dy.shape[3]), wide)
        total, _ = lax.scan(lambda t, pair: (t + part(*turned(*pair)), None), start, (xs, dys))
    return overlaid(total, together).transpose(1, 2, 0, 3)
