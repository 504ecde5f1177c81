"""Softmax regression: one dense layer on the flattened image."""

from flax import linen as nn
from jaxtyping import Array, Float

from jaxcv.constraints import Count
from jaxcv.layers import Dense


class Softmax(nn.Module):
    """Softmax regression (multinomial logistic regression); the softmax is in the loss.

    The kernel starts Glorot-uniform, the bias at zero. 30,730 parameters on 32×32×3 images with
    ten classes.

    Attributes:
        num_classes: number of logits
    """

    num_classes: Count = 10

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"], train: bool = False
    ) -> Float[Array, "batch classes"]:
        """Logits of a batch of images."""
        x = images.reshape(images.shape[0], -1)
        return Dense(self.num_classes, kernel_init=nn.initializers.glorot_uniform())(x)
