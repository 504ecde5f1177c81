"""Convolutional and dense layers: Flax's, computing with `jaxcv.ops`."""

import functools
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype
from jaxtyping import Array, Float

from jaxcv import ops
from jaxcv.ops.arrays import Values


def promoted(
    *arrays: Float[Values, "..."] | None, dtype: Any = None, inexact: bool = True
) -> list[Array | None]:
    """What a layer multiplies and adds: of one type, but for the bias beside 16 bits.

    A kernel of 16 bits is multiplied with numbers of its own type; the bias is added in float32,
    and what the layer gives is float32. The bias's gradient is a sum over the batch and over each
    pixel: in bfloat16 it stands still where it is 256 times as large as what is added. Where
    there is no bias the layer gives 16 bits.

    Args:
        arrays: the layer's input, its kernel, and its bias or None.
        dtype: asked for by the layer; None for the common one.
        inexact: whether whole numbers become floating-point ones.
    """
    x, kernel, bias = (None if array is None else jnp.asarray(array) for array in arrays)
    if dtype is None and x is not None and kernel is not None and kernel.dtype.itemsize == 2:
        return [x.astype(kernel.dtype), kernel, None if bias is None else bias.astype(jnp.float32)]
    return promote_dtype(x, kernel, bias, dtype=dtype, inexact=inexact)


Conv = functools.partial(
    nn.Conv, conv_general_dilated=ops.conv_general_dilated, promote_dtype=promoted
)
"""Makes a ``nn.Conv`` that is fast on CPU (`jaxcv.ops.conv_general_dilated`)."""

Dense = functools.partial(nn.Dense, dot_general=ops.dot_general, promote_dtype=promoted)
"""Makes a ``nn.Dense`` whose kernel's gradient is fast on CPU (`jaxcv.ops.dot_general`)."""
