"""A small densely connected network (Huang et al. 2017, section 3, the basic form)."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from jaxcv import ops
from jaxcv.constraints import Count
from jaxcv.errors import UserError
from jaxcv.layers import BatchNorm, Conv, Dense
from jaxcv.models.activations import INITIALIZERS
from jaxcv.models.blocks import Features


class DenseNet(nn.Module):
    """DenseNet of depth 3n + 4: three blocks of n layers, each fed with all before it in its block.

    A layer is batch normalisation, ReLU and a 3×3 convolution of `growth` channels, put beside its
    input. Between blocks stand batch normalisation, ReLU, a 1×1 convolution and 2×2 average
    pooling. Kernels of the convolutions start He-normal. Depth 22 with growth 12 has 270,706
    trainable parameters on colour images with ten classes.

    Attributes:
        depth: number of weighted layers, 3n + 4 for a whole n ≥ 1
        growth: channels that each layer adds
        num_classes: number of logits
    """

    depth: Count = 22
    growth: Count = 12
    num_classes: Count = 10

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"], train: bool = False
    ) -> Float[Array, "batch classes"]:
        """Logits of a batch of images.

        Raises:
            UserError: the depth is not 3n + 4, or the images have less than 4 pixels.
        """
        layers, rest = divmod(self.depth - 4, 3)
        if rest or layers < 1:
            raise UserError(f"--depth must be 3n + 4: 7, 10, 13, 16, ..., not {self.depth}")
        if min(images.shape[1:3]) < 4:
            raise UserError("DenseNet needs images of 4 pixels or more")
        x = _conv(16, 3, images)
        self.sow("intermediates", "conv1", x)
        for block in range(3):
            if block > 0:
                x = _conv(x.shape[-1], 1, nn.relu(BatchNorm()(x, train)))
                x = ops.avg_pool2d(x, window=2)
            for _ in range(layers):
                new = _conv(self.growth, 3, nn.relu(BatchNorm()(x, train)))
                # Read by every layer that follows, which would put it together anew.
                x = ops.computed_once(jnp.concatenate([x, new], axis=-1))
            self.sow("intermediates", f"block{block + 1}", x)
        x = ops.global_avg_pool2d(nn.relu(BatchNorm()(x, train)))
        self.sow("intermediates", "pool", x)
        return Dense(self.num_classes, kernel_init=INITIALIZERS["glorot_uniform"])(x)


def _conv(features: int, size: int, x: Features) -> Features:
    return Conv(
        features,
        (size, size),
        use_bias=False,
        kernel_init=INITIALIZERS["he_normal"],
    )(x)
