"""Two-dimensional convolution (cross-correlation, as deep learning has it) with a fast gradient.

On CPU the gradients are ours (:mod:`jaxcv.ops.convolution_gradients`); on every other platform
they are the ones that autodiff derives from the plain convolution. The choice follows the
platform that a program is lowered for.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from jaxcv.ops.convolution_gradients import DIMENSIONS, filter_gradient_by_taps, input_gradient
from jaxcv.ops.padding import Padding, Pads, Pair, as_pads, as_pair, output_size


def conv2d(
    x: Float[Array, "batch height width channels"],
    kernel: Float[Array, "rows columns channels features"],
    bias: Float[Array, " features"] | None = None,
    stride: int | Sequence[int] = 1,
    padding: Padding = "same",
) -> Float[Array, "batch out_height out_width features"]:
    """Slides ``kernel`` over ``x``.

    y[n, p, q, o] = bias[o] + Σ_{i, j, c} x̂[n, p·s + i, q·s + j, c] · kernel[i, j, c, o], where x̂
    is x with zeros around it. The kernel is not turned: this is a cross-correlation.

    Args:
        x: images, at least one.
        kernel: weights in [rows, columns, in, out] order, of the dtype of ``x``.
        bias: a number per feature, or None.
        stride: steps between windows, one integer or (vertical, horizontal).
        padding: ``"same"`` (output of ceil(size / stride)), ``"valid"`` (none), one integer for
            all sides, or ((top, bottom), (left, right)).

    Returns:
        The feature maps, in the dtype of ``x``.

    Raises:
        ValueError: shapes or dtypes do not fit, the batch is empty, or the window is larger than
            the padded image.
    """
    _check(x, kernel, bias)
    size, window = (x.shape[1], x.shape[2]), (kernel.shape[0], kernel.shape[1])
    steps = as_pair(stride, "stride")
    pads = as_pads(padding, size, window, steps)
    output_size(size, window, steps, pads)
    y = _convolve(x, kernel, steps, pads, None)
    return y if bias is None else y + bias


def conv_general_dilated(
    lhs: Array,
    rhs: Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: lax.ConvGeneralDilatedDimensionNumbers = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: lax.PrecisionLike = None,
    preferred_element_type: jax.typing.DTypeLike | None = None,
) -> Array:
    """Stands in for ``lax.conv_general_dilated``, as in ``nn.Conv(conv_general_dilated=...)``.

    A plain two-dimensional NHWC convolution takes the gradients of this module; anything else
    (groups, dilations, other layouts, other ranks) is handed to lax as it is.
    """
    ours = (
        lhs.ndim == rhs.ndim == 4
        and all(d == 1 for d in (*(lhs_dilation or ()), *(rhs_dilation or ())))
        and feature_group_count == batch_group_count == 1
        and preferred_element_type is None
        and lhs.dtype == rhs.dtype
        and jnp.issubdtype(lhs.dtype, jnp.floating)
        and lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
        == lax.conv_dimension_numbers(lhs.shape, rhs.shape, DIMENSIONS)
    )
    if ours:
        size, window = (lhs.shape[1], lhs.shape[2]), (rhs.shape[0], rhs.shape[1])
        steps = (window_strides[0], window_strides[1])
        word = isinstance(padding, str) and padding.lower() not in ("same", "valid")
        if not word and (isinstance(padding, str) or min(min(p) for p in padding) >= 0):
            _check(lhs, rhs, None)
            pads = as_pads(padding, size, window, steps)
            output_size(size, window, steps, pads)
            return _convolve(lhs, rhs, steps, pads, precision)
    return lax.conv_general_dilated(
        lhs,
        rhs,
        window_strides,
        padding,
        lhs_dilation=lhs_dilation,
        rhs_dilation=rhs_dilation,
        dimension_numbers=dimension_numbers,
        feature_group_count=feature_group_count,
        batch_group_count=batch_group_count,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )


def _check(x: Array, kernel: Array, bias: Array | None) -> None:
    if x.ndim != 4 or kernel.ndim != 4:
        raise ValueError(
            "x must be (batch, height, width, channels) and kernel (rows, columns, in, out), "
            f"not {x.shape} and {kernel.shape}"
        )
    if 0 in x.shape or 0 in kernel.shape:
        raise ValueError(f"x {x.shape} or kernel {kernel.shape} is empty")
    if x.shape[3] != kernel.shape[2]:
        raise ValueError(f"x has {x.shape[3]} channels but the kernel takes {kernel.shape[2]}")
    if not jnp.issubdtype(x.dtype, jnp.floating) or x.dtype != kernel.dtype:
        raise ValueError(
            f"x and kernel must have one floating-point dtype, not {x.dtype} and {kernel.dtype}"
        )
    if bias is not None and (bias.shape != kernel.shape[3:] or bias.dtype != x.dtype):
        raise ValueError(
            f"bias must be {kernel.shape[3:]} of {x.dtype}, not {bias.shape} of {bias.dtype}"
        )


def _plain(x: Array, kernel: Array, stride: Pair, pads: Pads, precision) -> Array:
    return lax.conv_general_dilated(
        x, kernel, stride, pads, dimension_numbers=DIMENSIONS, precision=precision
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _convolve(x: Array, kernel: Array, stride: Pair, pads: Pads, precision) -> Array:
    return _plain(x, kernel, stride, pads, precision)


def _forward(x: Array, kernel: Array, stride: Pair, pads: Pads, precision):
    return _convolve(x, kernel, stride, pads, precision), (x, kernel)


def _backward(stride: Pair, pads: Pads, precision, residuals: tuple[Array, Array], dy: Array):
    x, kernel = residuals
    size, window = (x.shape[1], x.shape[2]), (kernel.shape[0], kernel.shape[1])

    def cpu(x: Array, kernel: Array, dy: Array):
        dx = input_gradient(dy, kernel, size, stride, pads)
        return dx, filter_gradient_by_taps(x, dy, window, stride, pads)

    def default(x: Array, kernel: Array, dy: Array):
        _, pull = jax.vjp(lambda x, k: _plain(x, k, stride, pads, precision), x, kernel)
        return pull(dy)

    return lax.platform_dependent(x, kernel, dy, cpu=cpu, default=default)


_convolve.defvjp(_forward, _backward)
