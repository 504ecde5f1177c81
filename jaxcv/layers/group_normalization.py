"""Group normalisation (Wu & He 2018, section 3.1) and layer normalisation (Ba et al. 2016)."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from jaxcv.constraints import Count, Positive
from jaxcv.layers.standardization import affine, moments, require_examples, standardized, widened

Number = float | Float[Array, ""]


def group_norm(
    x: Float[Array, "batch ... channels"],
    scale: Float[Array, " channels"] | None,
    bias: Float[Array, " channels"] | None,
    groups: int,
    epsilon: Number = 1e-5,
) -> Float[Array, "batch ... channels"]:
    """Standardises each example by groups of neighbouring channels, then y = scale · z + bias.

    A group is channels/groups channels that follow one another, with all their pixels; its variance
    is biased, with ε inside the root. One group normalises the whole example, as many groups as
    channels is instance normalisation.

    Raises:
        ValueError: x is empty, or groups does not divide the channels.
    """
    require_examples(x, "group_norm")
    channels = x.shape[-1]
    if groups < 1 or channels % groups:
        raise ValueError(f"groups must divide the {channels} channels, got {groups}")
    grouped = widened(x).reshape(*x.shape[:-1], groups, channels // groups)
    axes = (*range(1, x.ndim - 1), grouped.ndim - 1)
    z = standardized(grouped, *moments(grouped, axes), epsilon)
    return affine(z.reshape(x.shape), scale, bias, x.dtype)


def layer_norm(
    x: Float[Array, "... channels"],
    scale: Float[Array, " channels"] | None,
    bias: Float[Array, " channels"] | None,
    epsilon: Number = 1e-5,
) -> Float[Array, "... channels"]:
    """Standardises the last axis by itself, then y = scale · z + bias.

    Raises:
        ValueError: x is empty.
    """
    require_examples(x, "layer_norm")
    wide = widened(x)
    return affine(standardized(wide, *moments(wide, (-1,)), epsilon), scale, bias, x.dtype)


class GroupNorm(nn.Module):
    """`group_norm` with a learnt scale and offset.

    Attributes:
        groups: a divisor of the number of channels
        epsilon: added to the variance
        use_scale: learn a scale
        use_bias: learn an offset
    """

    groups: Count = 32
    epsilon: Positive = 1e-5
    use_scale: bool = True
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "batch ... channels"]) -> Float[Array, "batch ... channels"]:
        """Normalised x."""
        scale, bias = _affine_params(self, x, self.use_scale, self.use_bias)
        return group_norm(x, scale, bias, self.groups, self.epsilon)


class LayerNorm(nn.Module):
    """`layer_norm` with a learnt scale and offset.

    Attributes:
        epsilon: added to the variance
        use_scale: learn a scale
        use_bias: learn an offset
    """

    epsilon: Positive = 1e-5
    use_scale: bool = True
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "... channels"]) -> Float[Array, "... channels"]:
        """Normalised x."""
        scale, bias = _affine_params(self, x, self.use_scale, self.use_bias)
        return layer_norm(x, scale, bias, self.epsilon)


def _affine_params(
    module: nn.Module, x: Float[Array, "... channels"], use_scale: bool, use_bias: bool
) -> tuple[Float[Array, " channels"] | None, Float[Array, " channels"] | None]:
    """The module's scale and offset by channel, in float32 at least."""
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    ones, zeros = nn.initializers.ones, nn.initializers.zeros
    scale = module.param("scale", ones, x.shape[-1:], dtype) if use_scale else None
    bias = module.param("bias", zeros, x.shape[-1:], dtype) if use_bias else None
    return scale, bias
