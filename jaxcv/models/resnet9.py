"""A residual network of nine layers that trains in few epochs (after Page 2018, for DAWNBench)."""

from flax import linen as nn
from jaxtyping import Array, Float

from jaxcv import ops
from jaxcv.constraints import Count
from jaxcv.errors import UserError
from jaxcv.layers import Dense
from jaxcv.models.activations import INITIALIZERS
from jaxcv.models.blocks import ConvBatchNorm, Features

_HALVINGS = 3
_LOGIT_SCALE = 0.125


class ResNet9(nn.Module):
    """Four stages of widening convolutions, the last two with a residual block each.

    A convolution and 2×2 max pooling; another convolution; then twice 2×2 max pooling, a
    convolution and a block x + f(x) of two convolutions. Global max pooling and a dense layer end
    it. Each 3×3 convolution starts He-normal and is followed by batch normalisation and ReLU.

    Pooling stands before the convolution that widens, not behind it: only the first convolution
    works on the whole image, and the network takes half the multiply-adds that it would take
    the other way round.

    Attributes:
        features: channels of each of the four stages
        num_classes: number of logits
    """

    features: tuple[Count, ...] = (24, 64, 96, 128)
    num_classes: Count = 10

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"], train: bool = False
    ) -> Float[Array, "batch classes"]:
        """Logits of a batch of images.

        Raises:
            UserError: the network has not four stages, or the images have less than 8 pixels.
        """
        if len(self.features) != _HALVINGS + 1:
            raise UserError(f"--features must be {_HALVINGS + 1} numbers, not {len(self.features)}")
        if min(images.shape[1:3]) < 2**_HALVINGS:
            raise UserError(f"ResNet9 needs images of {2**_HALVINGS} pixels or more")
        x = images
        for stage, features in enumerate(self.features):
            x = _conv(features, x, train)
            if stage >= 2:
                x = x + _conv(features, _conv(features, x, train), train)
            self.sow("intermediates", f"stage{stage + 1}", x)
            if stage < _HALVINGS:
                x = ops.max_pool2d(x, window=2)
        x = ops.max_pool2d(x, window=x.shape[1:3]).reshape(x.shape[0], -1)
        # Maxima of sums of normalised maps: unscaled, the first logits would be in the tens.
        x = x * _LOGIT_SCALE
        return Dense(self.num_classes, kernel_init=INITIALIZERS["glorot_uniform"])(x)


def _conv(features: int, x: Features, train: bool) -> Features:
    return nn.relu(ConvBatchNorm(features, kernel_init="he_normal")(x, train))
