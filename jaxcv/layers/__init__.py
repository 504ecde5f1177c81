"""Normalisation and dropout: pure functions, and thin Flax modules that hold their state.

The functions have the names and the arguments of `jaxcv.reference`, which they are proven against.
"""

from jaxcv.layers.batch_normalization import BatchNorm, batch_norm
from jaxcv.layers.dropout import Dropout, dropout, dropout_mask
from jaxcv.layers.group_normalization import GroupNorm, LayerNorm, group_norm, layer_norm

__all__ = [
    "BatchNorm",
    "Dropout",
    "GroupNorm",
    "LayerNorm",
    "batch_norm",
    "dropout",
    "dropout_mask",
    "group_norm",
    "layer_norm",
]
