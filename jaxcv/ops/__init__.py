"""Convolution and pooling: lax's operations with gradients chosen per platform."""

from jaxcv.ops.convolution import conv2d, conv_general_dilated
from jaxcv.ops.pooling import avg_pool2d, global_avg_pool2d, max_pool2d

__all__ = [
    "avg_pool2d",
    "conv2d",
    "conv_general_dilated",
    "global_avg_pool2d",
    "max_pool2d",
]
