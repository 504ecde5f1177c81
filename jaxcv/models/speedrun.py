"""A network made to be trained to 94 % on CIFAR-10 in few operations.

After Jordan 2024, "94% on CIFAR-10 in 3.29 seconds on a single GPU", section 3.1.
"""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from jaxcv import ops
from jaxcv.constraints import Count, Positive
from jaxcv.errors import UserError
from jaxcv.layers import BatchNorm, Conv, Dense, Whitening, whitening_kernel
from jaxcv.models.activations import gelu
from jaxcv.models.blocks import Features

_WINDOW = 2


class Speedrun(nn.Module):
    """A frozen whitening layer, then groups of two 3×3 convolutions, each halving the map.

    A group is convolution → 2×2 max pooling → normalisation → GELU → convolution → normalisation →
    GELU. Global max pooling and a dense layer without bias end the network. Convolutions have no
    bias either; the normalisations learn an offset and no scale, and forget their running
    statistics quickly, as training is short.

    On 32×32 pixels the maps measure 31, 15, 7 and 3. Pooling drops the last row and column of an
    odd map: they are not computed in the first place, which is a tenth of all operations.

    Attributes:
        features: channels of each group
        logit_scale: what the dense layer's input is multiplied with
        unit_head: scale the dense layer's initial kernel to a standard deviation of 1
        num_classes: number of logits
    """

    features: tuple[Count, ...] = (64, 256, 256)
    logit_scale: Positive = 1 / 9
    unit_head: bool = False
    num_classes: Count = 10

    @property
    def sample_size(self) -> int:
        """Training images from which the whitening is computed."""
        return 5000

    def data_statistics(self, images: Float[Array, "sample height width channels"]) -> PyTree:
        """The kernel of the whitening layer."""
        return {"Whitening_0": {"kernel": whitening_kernel(images, _WINDOW)}}

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"], train: bool = False
    ) -> Float[Array, "batch classes"]:
        """Logits of a batch of images.

        Raises:
            UserError: the images are smaller than so many groups can halve.
        """
        smallest = 2 ** len(self.features) + _WINDOW - 1
        if min(images.shape[1:3]) < smallest:
            raise UserError(f"so many --features need images of {smallest} pixels or more")
        x = gelu(Whitening(_WINDOW)(images))
        for features in self.features:
            x = _group(features, x, train)
        x = ops.max_pool2d(x, window=x.shape[1:3]).reshape(x.shape[0], -1)
        # Before the layer and not behind it: its products are then as small as the logits.
        x = x * jnp.asarray(self.logit_scale, x.dtype)
        head = _unit if self.unit_head else _uniform
        return Dense(self.num_classes, use_bias=False, kernel_init=head)(x)


def _group(features: int, x: Features, train: bool) -> Features:
    # The window of an odd size's last row or column would reach beyond the pooled part.
    pads = tuple((1, 1 - size % 2) for size in x.shape[1:3])
    x = ops.max_pool2d(_conv(features, x, pads), window=2)
    x = gelu(_normalized(x, train))
    return gelu(_normalized(_conv(features, x, ((1, 1), (1, 1))), train))


def _conv(features: int, x: Features, pads: tuple[tuple[int, int], ...]) -> Features:
    return Conv(
        features,
        (3, 3),
        padding=pads,
        use_bias=False,
        kernel_init=_identity_first,
    )(x)


def _normalized(x: Features, train: bool) -> Features:
    return BatchNorm(momentum=0.6, epsilon=1e-12, use_scale=False)(x, train)


def _uniform(key: PRNGKeyArray, shape: tuple[int, ...], dtype=jnp.float32) -> Array:
    """Evenly between ±1/√fan_in."""
    return nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")(key, shape, dtype)


def _unit(key: PRNGKeyArray, shape: tuple[int, ...], dtype=jnp.float32) -> Array:
    """Evenly, then scaled to a sample standard deviation of 1."""
    kernel = _uniform(key, shape, dtype)
    return kernel / jnp.std(kernel, ddof=1)


def _identity_first(key: PRNGKeyArray, shape: tuple[int, ...], dtype=jnp.float32) -> Array:
    """Uniform, but the first features hand the channels through (Jordan 2024, section 3.3)."""
    channels = min(shape[2:])
    kernel = _uniform(key, shape, dtype).at[..., :channels].set(0)
    diagonal = jnp.arange(channels)
    return kernel.at[shape[0] // 2, shape[1] // 2, diagonal, diagonal].set(1)
