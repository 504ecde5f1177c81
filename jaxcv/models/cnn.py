"""Convolutions with max pooling and one dense layer."""

from flax import linen as nn
from jaxtyping import Array, Float

from jaxcv import ops
from jaxcv.constraints import Count
from jaxcv.errors import UserError
from jaxcv.layers import Conv, Dense


class CNN(nn.Module):
    """Blocks of 3×3 convolution, ReLU and 2×2 max pooling, then a dense layer.

    With two blocks of 64: 79,690 parameters on 32×32×3 images with ten classes. Convolution
    kernels start He-uniform, the dense kernel Glorot-uniform, biases at zero.

    Attributes:
        features: channels of each block's convolution
        num_classes: number of logits
    """

    features: tuple[Count, ...] = (64, 64)
    num_classes: Count = 10

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"], train: bool = False
    ) -> Float[Array, "batch classes"]:
        """Logits of a batch of images."""
        size = min(images.shape[1:3])
        if size < 2 ** len(self.features):
            raise UserError(
                f"--features must be at most {size.bit_length() - 1} numbers on images of "
                f"{size} pixels, each of which halves them, not {len(self.features)}"
            )
        x = images
        for i, features in enumerate(self.features):
            x = Conv(
                features,
                (3, 3),
                kernel_init=nn.initializers.he_uniform(),
            )(x)
            x = nn.relu(x)
            self.sow("intermediates", f"conv{i + 1}", x)
            x = ops.max_pool2d(x, window=2)
            self.sow("intermediates", f"pool{i + 1}", x)
        x = x.reshape(x.shape[0], -1)
        return Dense(self.num_classes, kernel_init=nn.initializers.glorot_uniform())(x)
