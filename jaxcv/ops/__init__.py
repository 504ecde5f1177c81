"""Convolution, pooling and products: lax's operations with gradients chosen per platform."""

from jaxcv.ops.convolution import conv2d, conv_general_dilated
from jaxcv.ops.pooling import avg_pool2d, global_avg_pool2d, max_pool2d
from jaxcv.ops.products import dot_general
from jaxcv.ops.relu import relu
from jaxcv.ops.separate import computed_once

__all__ = [
    "avg_pool2d",
    "computed_once",
    "conv2d",
    "conv_general_dilated",
    "dot_general",
    "global_avg_pool2d",
    "max_pool2d",
    "relu",
]
