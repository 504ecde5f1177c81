"""Residual networks for small images (He et al. 2015, "Deep residual learning", section 4.2)."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from jaxcv import ops
from jaxcv.constraints import Count
from jaxcv.errors import UserError
from jaxcv.layers import Dense
from jaxcv.models.blocks import ConvBatchNorm, Features


class ResNet(nn.Module):
    """ResNet of depth 6n + 2: a convolution, three stacks of n blocks, pooling, a dense layer.

    A stack has twice the channels of the one before and halves the image in its first block.
    Shortcuts are identities: strided, with zeros for new channels (option A). Kernels of the
    convolutions start He-normal; the normalisations have no scale. Depth 20 has 269,034 trainable
    parameters with ten classes, depth 56 has 850,986.

    Attributes:
        depth: number of weighted layers, 6n + 2 for a whole n ≥ 1
        width: channels of the first stack
        num_classes: number of logits
    """

    depth: Count = 20
    width: Count = 16
    num_classes: Count = 10

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"], train: bool = False
    ) -> Float[Array, "batch classes"]:
        """Logits of a batch of images.

        Raises:
            UserError: the depth is not 6n + 2.
        """
        blocks, rest = divmod(self.depth - 2, 6)
        if rest or blocks < 1:
            raise UserError(f"--depth must be 6n + 2: 8, 14, 20, 26, 32, ..., not {self.depth}")
        first = ConvBatchNorm(self.width, use_scale=False, kernel_init="he_normal")
        x = ops.relu(first(images, train))
        self.sow("intermediates", "conv1", x)
        for stack in range(3):
            for block in range(blocks):
                stride = 2 if stack > 0 and block == 0 else 1
                x = ResidualBlock(self.width * 2**stack, stride)(x, train)
                self.sow("intermediates", f"stack{stack + 1}_block{block + 1}", x)
        x = ops.global_avg_pool2d(x)
        self.sow("intermediates", "pool", x)
        return Dense(self.num_classes, kernel_init=nn.initializers.glorot_uniform())(x)


class ResidualBlock(nn.Module):
    """relu(shortcut(x) + conv-BN-ReLU-conv-BN(x)).

    Attributes:
        features: channels of the result
        stride: of the first convolution and of the shortcut
        use_scale: whether the normalisations learn a scale
    """

    features: Count
    stride: Count = 1
    use_scale: bool = False

    @nn.compact
    def __call__(self, x: Features, train: bool) -> Features:
        """(batch, ⌈height/stride⌉, ⌈width/stride⌉, features)."""
        y = ops.relu(self._conv(self.stride)(x, train))
        y = self._conv(1)(y, train)
        return ops.relu(shortcut(x, self.features, self.stride) + y)

    def _conv(self, stride: int) -> ConvBatchNorm:
        return ConvBatchNorm(self.features, stride, self.use_scale, kernel_init="he_normal")


def shortcut(x: Features, features: int, stride: int) -> Features:
    """The identity: every `stride`-th pixel, and zeros in the channels that x does not have."""
    x = x[:, ::stride, ::stride]
    return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, features - x.shape[-1])))
