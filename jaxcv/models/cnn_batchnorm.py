"""The convolutional network with batch normalisation, shrunk by pooling or by strides."""

from typing import Literal

from flax import linen as nn
from jaxtyping import Array, Float

from jaxcv import ops
from jaxcv.constraints import Count
from jaxcv.layers import Dense
from jaxcv.models.blocks import ConvBatchNorm


class CNNBatchNorm(nn.Module):
    """Blocks of 3×3 convolution, batch normalisation, ReLU and 2×2 max pooling, a dense layer.

    With two blocks of 64: 79,818 trainable parameters on 32×32×3 images with ten classes, whether
    it pools or strides (Springenberg et al. 2014). Convolution kernels start He-uniform.

    Attributes:
        features: channels of each block
        downsample: halve the image by 2×2 max pooling, or by a stride of 2 in the convolution
        num_classes: number of logits
    """

    features: tuple[Count, ...] = (64, 64)
    downsample: Literal["pool", "stride"] = "pool"
    num_classes: Count = 10

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"], train: bool = False
    ) -> Float[Array, "batch classes"]:
        """Logits of a batch of images."""
        x = images
        pools = self.downsample == "pool"
        for i, features in enumerate(self.features):
            x = nn.relu(ConvBatchNorm(features, stride=1 if pools else 2)(x, train))
            self.sow("intermediates", f"conv{i + 1}", x)
            if pools:
                x = ops.max_pool2d(x, window=2)
                self.sow("intermediates", f"pool{i + 1}", x)
        x = x.reshape(x.shape[0], -1)
        return Dense(self.num_classes, kernel_init=nn.initializers.glorot_uniform())(x)
