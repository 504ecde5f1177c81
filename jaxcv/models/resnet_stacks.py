"""The residual network of the PyTorch exercise: stacks of blocks from the first layer on."""

from flax import linen as nn
from jaxtyping import Array, Float

from jaxcv import ops
from jaxcv.constraints import Count
from jaxcv.layers import Dense
from jaxcv.models.activations import INITIALIZERS
from jaxcv.models.resnet import ResidualBlock


class ResNetStacks(nn.Module):
    """One residual block on the pixels, three stacks of blocks, pooling, a dense layer.

    It differs from `ResNet` (He et al. 2015, section 4.2) in three things: the first layer is a
    whole residual block, whose shortcut adds the pixels to the first channels; the normalisations
    have a scale; and the dense kernel starts He-normal. With stacks of ten: 952,570 trainable
    parameters on colour images with ten classes, in 62 convolutions.

    Attributes:
        blocks: residual blocks in each of the three stacks
        width: channels of the first stack; each further one has twice as many
        num_classes: number of logits
    """

    blocks: Count = 10
    width: Count = 16
    num_classes: Count = 10

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"], train: bool = False
    ) -> Float[Array, "batch classes"]:
        """Logits of a batch of images."""
        x = ResidualBlock(self.width, use_scale=True)(images, train)
        self.sow("intermediates", "block1", x)
        for stack in range(3):
            for block in range(self.blocks):
                stride = 2 if stack > 0 and block == 0 else 1
                x = ResidualBlock(self.width * 2**stack, stride, use_scale=True)(x, train)
                self.sow("intermediates", f"stack{stack + 1}_block{block + 1}", x)
        x = ops.global_avg_pool2d(x)
        self.sow("intermediates", "pool", x)
        return Dense(self.num_classes, kernel_init=INITIALIZERS["he_normal"])(x)
