"""Dropout (Srivastava et al. 2014), scaled while training so that evaluation needs no change."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from jaxcv.constraints import Fraction
from jaxcv.layers.standardization import widened

Number = float | Float[Array, ""]


def dropout_mask(key: PRNGKeyArray, shape: tuple[int, ...], rate: Number) -> Bool[Array, "..."]:
    """Which elements are kept: each with probability 1 − rate, by itself."""
    return jax.random.uniform(key, shape) >= rate


def dropout(x: Float[Array, "..."], mask: Bool[Array, "..."], rate: Number) -> Float[Array, "..."]:
    """x / (1 − rate) where the mask is true, else 0; the expected value stays x.

    Args:
        x: any shape.
        mask: true where x is kept, from `dropout_mask` of the same rate.
        rate: in [0, 1]; may be an array, so that rates share one compilation. At 1 all is 0.

    Raises:
        ValueError: the mask has another shape, or x is empty.
    """
    if mask.shape != x.shape or x.size == 0:
        raise ValueError(f"dropout needs a mask of x's shape {x.shape}, got {mask.shape}")
    # In float32 at least: bfloat16 would round a rate of 0.999 to 1.
    wide = widened(x)
    rate = jnp.asarray(rate, wide.dtype)
    # At rate 1 nothing is kept; the quotient must still be finite for the gradient's sake.
    kept = jnp.maximum(1 - rate, jnp.finfo(wide.dtype).tiny)
    return jnp.where(mask & (rate < 1), wide / kept, 0).astype(x.dtype)


class Dropout(nn.Module):
    """`dropout` with its mask drawn from the `dropout` stream; nothing in evaluation.

    Attributes:
        rate: probability of an element to be dropped; may be a traced array
    """

    rate: Fraction

    @nn.compact
    def __call__(self, x: Float[Array, "..."], train: bool) -> Float[Array, "..."]:
        """x with some elements dropped while training, x itself otherwise."""
        if not train:
            return x
        return dropout(x, dropout_mask(self.make_rng("dropout"), x.shape, self.rate), self.rate)
