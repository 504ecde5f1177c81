"""A convolutional network that ends in global average pooling, for images of any size."""

from flax import linen as nn
from jaxtyping import Array, Float

from jaxcv import ops
from jaxcv.constraints import Count
from jaxcv.layers import Dense
from jaxcv.models.blocks import ConvBatchNorm


class CNNGlobalPool(nn.Module):
    """3×3 convolutions with batch normalisation and ReLU, global average pooling, a dense layer.

    All but the last convolution have stride 2. The normalisations have no scale: what follows is
    linear but for the ReLU, and can take it over. With three of 64: 76,298 trainable parameters
    with ten classes, a receptive field of 15×15 before the pooling. Kernels start Glorot-uniform.

    Attributes:
        features: channels of each convolution
        num_classes: number of logits
    """

    features: tuple[Count, ...] = (64, 64, 64)
    num_classes: Count = 10

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"], train: bool = False
    ) -> Float[Array, "batch classes"]:
        """Logits of a batch of images."""
        x = images
        for i, features in enumerate(self.features):
            stride = 2 if i + 1 < len(self.features) else 1
            block = ConvBatchNorm(features, stride, use_scale=False, kernel_init="glorot_uniform")
            x = nn.relu(block(x, train))
            self.sow("intermediates", f"conv{i + 1}", x)
        x = ops.global_avg_pool2d(x)
        self.sow("intermediates", "pool", x)
        return Dense(self.num_classes, kernel_init=nn.initializers.glorot_uniform())(x)
