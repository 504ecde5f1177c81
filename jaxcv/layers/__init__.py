"""Convolutional and dense layers of Flax; normalisation, whitening, dropout: functions, modules.

Those that `jaxcv.reference` has too have its names and arguments, and are proven against it.
"""

from jaxcv.layers.batch_normalization import BatchNorm, batch_norm
from jaxcv.layers.dropout import Dropout, dropout, dropout_mask
from jaxcv.layers.group_normalization import GroupNorm, LayerNorm, group_norm, layer_norm
from jaxcv.layers.linear import Conv, Dense
from jaxcv.layers.whitening import Whitening, whitening_kernel

__all__ = [
    "BatchNorm",
    "Conv",
    "Dense",
    "Dropout",
    "GroupNorm",
    "LayerNorm",
    "Whitening",
    "batch_norm",
    "dropout",
    "dropout_mask",
    "group_norm",
    "layer_norm",
    "whitening_kernel",
]
