"""A sigmoid encoder and decoder of one layer each."""

import functools
from typing import NamedTuple

import jax
from flax import linen as nn
from jaxtyping import Array, Float, PRNGKeyArray

from jaxcv.constraints import Count
from jaxcv.layers import Dense


class Autoencoded(NamedTuple):
    """What an autoencoder makes of a batch.

    Attributes:
        reconstruction: the images again, each pixel in (0, 1).
        hidden_logits: the hidden units before their sigmoid: its logarithm is taken of these, and
            never of an activation that has become 0 or 1.
    """

    reconstruction: Float[Array, "batch height width channels"]
    hidden_logits: Float[Array, "batch hidden"]


class Autoencoder(nn.Module):
    """Sigmoid encoder and sigmoid decoder (EEE443/543, assignment 3, 2019).

    Weights and biases start uniform in ±√(6 / (in + out)). 33,088 parameters on 16×16 images with
    64 hidden units.

    Attributes:
        hidden: units of the hidden layer
    """

    hidden: Count = 64

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"], train: bool = False
    ) -> Autoencoded:
        """The images again, and the hidden units that they were made from."""
        x = images.reshape(images.shape[0], -1)
        pixels = x.shape[-1]
        bound = (6 / (pixels + self.hidden)) ** 0.5

        def uniform(key: PRNGKeyArray, shape: tuple[int, ...], dtype: jax.typing.DTypeLike):
            return jax.random.uniform(key, shape, dtype, -bound, bound)

        dense = functools.partial(Dense, kernel_init=uniform, bias_init=uniform)
        logits = dense(self.hidden, name="encoder")(x)
        hidden = nn.sigmoid(logits)
        self.sow("intermediates", "hidden", hidden)
        decoded = dense(pixels, name="decoder")(hidden)
        # The backward pass computes it again: that is quicker than to write it out and read it.
        reconstruction = jax.checkpoint(nn.sigmoid)(decoded)
        return Autoencoded(reconstruction.reshape(images.shape), logits)
