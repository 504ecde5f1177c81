"""Batch normalisation (Ioffe & Szegedy 2015, algorithms 1 and 2)."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from jaxcv.constraints import Fraction, Positive
from jaxcv.layers.channel_sums import channel_sum
from jaxcv.layers.standardization import affine, require_examples, standardized, widened
from jaxcv.ops.separate import computed_once

Number = float | Float[Array, ""]
Features = Float[Array, "batch ... channels"]
PerChannel = Float[Array, " channels"]


def batch_norm(
    x: Float[Array, "batch ... channels"],
    scale: Float[Array, " channels"] | None,
    bias: Float[Array, " channels"] | None,
    running_mean: Float[Array, " channels"],
    running_var: Float[Array, " channels"],
    training: bool = True,
    momentum: Number = 0.99,
    epsilon: Number = 1e-3,
) -> tuple[
    Float[Array, "batch ... channels"], Float[Array, " channels"], Float[Array, " channels"]
]:
    """Standardises each channel, then y = scale · z + bias.

    While training z uses the batch's mean and variance, and the running ones become
    momentum · old + (1 − momentum) · batch; in evaluation z uses the running ones, which stay. Both
    variances are biased (they divide by the number of elements) and ε stands inside the root, as in
    Keras and Flax.

    Args:
        x: all axes but the last share one mean and one variance.
        scale: by channel; None for 1.
        bias: by channel; None for 0.
        running_mean: by channel.
        running_var: by channel.
        training: by the batch's statistics, or by the running ones.
        momentum: weight of the old running statistics.
        epsilon: added to the variance.

    Returns:
        y in x's type, and the new running mean and variance.

    Raises:
        ValueError: the batch is empty.
    """
    require_examples(x, "batch_norm")
    wide = widened(x)
    if not training:
        z = standardized(wide, running_mean, running_var, epsilon)
        return affine(z, scale, bias, x.dtype), running_mean, running_var
    y = _normalized_by_batch(wide, scale, bias, epsilon)
    # Compiled once with those that y needs, which they equal.
    mean, var = _moments(wide)
    new_mean = momentum * running_mean + (1 - momentum) * mean
    new_var = momentum * running_var + (1 - momentum) * var
    return y.astype(x.dtype), new_mean.astype(running_mean.dtype), new_var.astype(running_var.dtype)


def _moments(x: Features) -> tuple[PerChannel, PerChannel]:
    """Mean and biased variance by channel, in two passes: a common offset costs no digits."""
    count = x.size // x.shape[-1]
    mean = channel_sum(x) / count
    return mean, channel_sum(x, mean, term=lambda x, mean: jnp.square(x - mean)) / count


@jax.custom_vjp
def _normalized_by_batch(
    x: Features, scale: PerChannel | None, bias: PerChannel | None, epsilon: Number
) -> Features:
    return _forward(x, scale, bias, epsilon)[0]


def _forward(x: Features, scale: PerChannel | None, bias: PerChannel | None, epsilon: Number):
    mean, var = _moments(x)
    y = affine(standardized(x, mean, var, epsilon), scale, bias, x.dtype)
    return y, (x, scale, bias, mean, jax.lax.rsqrt(var + epsilon))


def _backward(residuals: tuple[Any, ...], dy: Features):
    """The gradient in two passes over x and dy: one for the sums, one for dx.

    With r = 1/√(σ² + ε), z = (x − μ)·r, m elements a channel and sums over them,

        dx = scale · r · (dy − Σdy/m − z · Σ(dy·z)/m),

    dscale = Σ dy·z, dbias = Σ dy and dε = −½ Σ_c scale · r² · dscale.
    """
    x, scale, bias, mean, r = residuals
    dy = computed_once(dy)
    count = x.size // x.shape[-1]
    dbias = channel_sum(dy)
    dscale = channel_sum(x, mean, dy, term=lambda x, mean, dy: (x - mean) * dy) * r
    gain = r if scale is None else scale * r
    dx = gain * (dy - dbias / count - (x - mean) * (r * dscale / count))
    return (
        # A convolution before it takes two gradients.
        computed_once(dx),
        None if scale is None else dscale.astype(scale.dtype),
        None if bias is None else dbias.astype(bias.dtype),
        -0.5 * jnp.sum(gain * r * dscale),
    )


_normalized_by_batch.defvjp(_forward, _backward)


class BatchNorm(nn.Module):
    """`batch_norm` with its parameters in `params` and its statistics in `batch_stats`.

    Attributes:
        momentum: weight of the old running statistics
        epsilon: added to the variance
        use_scale: learn a scale; without effect where a linear layer follows
        use_bias: learn an offset
    """

    momentum: Fraction = 0.99
    epsilon: Positive = 1e-3
    use_scale: bool = True
    use_bias: bool = True

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch ... channels"], train: bool
    ) -> Float[Array, "batch ... channels"]:
        """Normalised x; while training, the running statistics move on."""
        channels = x.shape[-1:]
        dtype = jnp.promote_types(x.dtype, jnp.float32)
        mean = self.variable("batch_stats", "mean", lambda: jnp.zeros(channels, dtype))
        var = self.variable("batch_stats", "var", lambda: jnp.ones(channels, dtype))
        ones, zeros = nn.initializers.ones, nn.initializers.zeros
        scale = self.param("scale", ones, channels, dtype) if self.use_scale else None
        bias = self.param("bias", zeros, channels, dtype) if self.use_bias else None
        y, new_mean, new_var = batch_norm(
            x, scale, bias, mean.value, var.value, train, self.momentum, self.epsilon
        )
        if train and not self.is_initializing():
            mean.value, var.value = new_mean, new_var
        return y
