"""Two-dimensional convolution (cross-correlation, as deep learning has it) with a fast gradient.

On CPU the gradients are ours (:mod:`jaxcv.ops.input_gradients` and
:mod:`jaxcv.ops.filter_gradients`), and so is the form of convolutions of few features
(:mod:`jaxcv.ops.narrow`) and of 3×3 ones of many (:mod:`jaxcv.ops.winograd`); every other platform
is given the plain convolution and the gradients that autodiff derives from it. The choice follows
the platform that a program is lowered for.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from jaxcv.ops import winograd
from jaxcv.ops.arrays import (
    Values,
    as_bias,
    as_images,
    as_kernel,
    explicitly_sharded,
    varying_alike,
)
from jaxcv.ops.filter_gradients import filter_gradient
from jaxcv.ops.input_gradients import input_gradient
from jaxcv.ops.narrow import columns_at_once, convolve
from jaxcv.ops.padding import DIMENSIONS, Padding, Pads, Pair, Steps, as_pads, as_pair, output_size


def conv2d(
    x: Float[Values, "batch height width channels"],
    kernel: Float[Values, "rows columns channels features"],
    bias: Float[Values, " features"] | None = None,
    stride: Steps = 1,
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
        The feature maps, in the dtype of ``x``. On CPU, 3×3 windows of stride 1 over many channels
        are computed by minimal filtering where that is faster (:func:`jaxcv.ops.winograd.tiling`),
        with rounding errors two to three times as large, which come from up to 6×6 pixels around.
        :func:`conv_general_dilated` with a precision computes none that way.

    Raises:
        ValueError: shapes or dtypes do not fit, the batch is empty, or the window is larger than
            the padded image.

    Example:
        >>> conv2d(jnp.ones((1, 3, 3, 1)), jnp.ones((3, 3, 1, 1)), padding="valid")
        Array([[[[9.]]]], dtype=float32)
    """
    x = as_images(x)
    kernel = as_kernel(kernel, x)
    steps = as_pair(stride, "stride")
    y = _shared(x, kernel, steps, _pads(x, kernel, steps, padding), None)
    if bias is None:
        return y
    # The gradient of a bias sums over all pixels, which 16 bits cannot.
    wide = jnp.promote_types(y.dtype, jnp.float32)
    return (y.astype(wide) + as_bias(bias, kernel).astype(wide)).astype(y.dtype)


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

    A plain two-dimensional convolution of NHWC images with an HWIO kernel takes the gradients of
    this module; anything else (groups, dilations, other layouts, other ranks, negative padding)
    is handed to lax as it is.

    Raises:
        ValueError: as :func:`conv2d`, or as lax.
    """
    plain = (
        lhs.ndim == rhs.ndim == 4
        and lhs.dtype == rhs.dtype
        and jnp.issubdtype(lhs.dtype, jnp.floating)
        and all(d == 1 for d in (*(lhs_dilation or ()), *(rhs_dilation or ())))
        and feature_group_count == batch_group_count == 1
        and preferred_element_type is None
        and _canonical(lhs, rhs, dimension_numbers)
        and (
            padding.lower() in ("same", "valid")
            if isinstance(padding, str)
            else all(p >= 0 for side in padding for p in side)
        )
    )
    if plain:
        as_kernel(rhs, as_images(lhs))
        steps = as_pair(window_strides, "window_strides")
        pads = _pads(lhs, rhs, steps, padding)
        return _shared(lhs, rhs, steps, pads, precision)
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


def _canonical(lhs: Array, rhs: Array, dimension_numbers) -> bool:
    ours = lax.conv_dimension_numbers(lhs.shape, rhs.shape, DIMENSIONS)
    return lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers) == ours


def _pads(x: Array, kernel: Array, stride: Pair, padding: Padding) -> Pads:
    size, window = (x.shape[1], x.shape[2]), (kernel.shape[0], kernel.shape[1])
    pads = as_pads(padding, size, window, stride)
    output_size(size, window, stride, pads)
    return pads


def _shared(x: Array, kernel: Array, stride: Pair, pads: Pads, precision) -> Array:
    """The convolution, however devices share its operands."""
    if explicitly_sharded(x, kernel):
        return _plain(x, kernel, stride, pads, precision)
    return _convolve(*varying_alike(x, kernel), stride, pads, precision)


def _plain(x: Array, kernel: Array, stride: Pair, pads: Pads, precision) -> Array:
    return lax.conv_general_dilated(
        x, kernel, stride, pads, dimension_numbers=DIMENSIONS, precision=precision
    )


def _by_platform(x: Array, kernel: Array, stride: Pair, pads: Pads, precision) -> Array:
    window = (kernel.shape[0], kernel.shape[1])
    rows, columns = output_size((x.shape[1], x.shape[2]), window, stride, pads)
    together = columns_at_once(kernel.shape, stride, columns)
    tiling = winograd.tiling(x.shape, (rows, columns), kernel.shape, stride, x.dtype, precision)
    default = functools.partial(_plain, stride=stride, pads=pads, precision=precision)
    if together == 1 and tiling is None:
        return default(x, kernel)

    def cpu(x: Array, kernel: Array) -> Array:
        if tiling is not None:
            return winograd.convolve(x, kernel, pads, tiling)
        return convolve(x, kernel, pads, together, precision)

    return lax.platform_dependent(x, kernel, cpu=cpu, default=default)


_convolve = jax.custom_vjp(_by_platform, nondiff_argnums=(2, 3, 4))


def _forward(x: Array, kernel: Array, stride: Pair, pads: Pads, precision):
    return _by_platform(x, kernel, stride, pads, precision), (x, kernel)


def _backward(stride: Pair, pads: Pads, precision, residuals: tuple[Array, Array], dy: Array):
    x, kernel = residuals
    convolution = functools.partial(_plain, stride=stride, pads=pads, precision=precision)

    def cpu(x: Array, kernel: Array, dy: Array) -> tuple[Array, Array]:
        size, window = (x.shape[1], x.shape[2]), (kernel.shape[0], kernel.shape[1])
        dx = input_gradient(dy, kernel, size, stride, pads, precision)
        return dx, filter_gradient(x, dy, window, stride, pads, precision)

    def default(x: Array, kernel: Array, dy: Array) -> tuple[Array, Array]:
        dx, dkernel = jax.vjp(convolution, x, kernel)[1](dy)
        return dx, dkernel

    return lax.platform_dependent(x, kernel, dy, cpu=cpu, default=default)


_convolve.defvjp(_forward, _backward)
