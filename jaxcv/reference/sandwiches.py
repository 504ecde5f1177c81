"""Layers that usually come together: convolution and ReLU, with or without max pooling."""

import numpy as np
from jaxtyping import Float64

from jaxcv.reference.activations import relu, relu_backward
from jaxcv.reference.arrays import Values
from jaxcv.reference.convolution import conv2d, conv2d_backward
from jaxcv.reference.pooling import max_pool2d, max_pool2d_backward
from jaxcv.reference.windows import Padding, Size


def conv_relu(
    x: Values,
    kernel: Values,
    bias: Values | None = None,
    stride: Size = 1,
    padding: Padding = "same",
) -> Float64[np.ndarray, "batch height_out width_out channels_out"]:
    """relu(conv2d(x, kernel, bias, stride, padding)).

    Raises:
        ValueError: As `conv2d`.
    """
    return relu(conv2d(x, kernel, bias, stride, padding))


def conv_relu_backward(
    dy: Values,
    x: Values,
    kernel: Values,
    bias: Values | None = None,
    stride: Size = 1,
    padding: Padding = "same",
) -> tuple[
    Float64[np.ndarray, "batch height width channels_in"],
    Float64[np.ndarray, "kernel_height kernel_width channels_in channels_out"],
    Float64[np.ndarray, "channels_out"],
]:
    """Gradients of `conv_relu`: (dx, dkernel, dbias). The bias is needed: it moves the kink.

    Raises:
        ValueError: As `conv2d_backward`.
    """
    dconv = relu_backward(dy, conv2d(x, kernel, bias, stride, padding))
    return conv2d_backward(dconv, x, kernel, stride, padding)


def conv_relu_pool(
    x: Values,
    kernel: Values,
    bias: Values | None = None,
    stride: Size = 1,
    padding: Padding = "same",
    window: Size = 2,
    pool_stride: Size | None = None,
) -> Float64[np.ndarray, "batch height_out width_out channels_out"]:
    """`max_pool2d(conv_relu(x, kernel, bias, stride, padding), window, pool_stride)`.

    Raises:
        ValueError: As `conv2d` and `max_pool2d`.
    """
    return max_pool2d(conv_relu(x, kernel, bias, stride, padding), window, pool_stride)


def conv_relu_pool_backward(
    dy: Values,
    x: Values,
    kernel: Values,
    bias: Values | None = None,
    stride: Size = 1,
    padding: Padding = "same",
    window: Size = 2,
    pool_stride: Size | None = None,
) -> tuple[
    Float64[np.ndarray, "batch height width channels_in"],
    Float64[np.ndarray, "kernel_height kernel_width channels_in channels_out"],
    Float64[np.ndarray, "channels_out"],
]:
    """Gradients of `conv_relu_pool`: (dx, dkernel, dbias).

    Raises:
        ValueError: As `conv2d_backward` and `max_pool2d_backward`.
    """
    conv = conv2d(x, kernel, bias, stride, padding)
    drelu = max_pool2d_backward(dy, relu(conv), window, pool_stride)
    return conv2d_backward(relu_backward(drelu, conv), x, kernel, stride, padding)
