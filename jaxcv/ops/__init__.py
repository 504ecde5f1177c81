"""Convolution, pooling and products: lax's operations with gradients chosen per platform."""

from jaxcv.ops.convolution import conv2d, conv_general_dilated
from jaxcv.ops.pooling import avg_pool2d, global_avg_pool2d, max_pool2d
from jaxcv.ops.products import dot_general

__all__ = [
    "avg_pool2d",
    "conv2d",
    "conv_general_dilated",
    "dot_general",
    "global_avg_pool2d",
    "max_pool2d",
]
