"""The network that the assignment took up CIFAR-10's open challenge with (CS231n, jariasf)."""

from flax import linen as nn
from jaxtyping import Array, Float

from jaxcv import ops
from jaxcv.constraints import Count, Fraction
from jaxcv.layers import BatchNorm, Conv, Dense, Dropout
from jaxcv.models.activations import INITIALIZERS

_POOLS = 2


class ChallengeNet(nn.Module):
    """Convolution, batch normalisation, ELU and dropout three times, then three dense layers.

    The first two blocks end in 2×2 max pooling, the last in average pooling over the whole map,
    which is 5×5 on 32×32 images. There is nothing between the dense layers: together they are one
    linear map of rank at most 50. 102,982 trainable parameters on 32×32×3 images: the assignment's
    convolutions have 224 biases more, which the normalisation takes away again.

    Convolutions start He-normal, dense kernels Glorot-uniform. All but the first convolution see no
    padding, where the map is as large as their window.

    Attributes:
        features: channels of each block
        hidden: width of each dense layer before the last
        dropout: probability of an activation to be dropped while training
        num_classes: number of logits
    """

    features: tuple[Count, ...] = (32, 64, 128)
    hidden: tuple[Count, ...] = (50, 50)
    dropout: Fraction = 0.5
    num_classes: Count = 10

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"], train: bool = False
    ) -> Float[Array, "batch classes"]:
        """Logits of a batch of images."""
        x = images
        for i, features in enumerate(self.features):
            x = Conv(
                features,
                (3, 3),
                # Images of 8×8 pixels have shrunk to one before the last convolution.
                use_bias=False,
                padding="VALID" if i > 0 and min(x.shape[1:3]) >= 3 else "SAME",
                kernel_init=INITIALIZERS["he_normal"],
            )(x)
            x = nn.elu(BatchNorm()(x, train))
            self.sow("intermediates", f"conv{i + 1}", x)
            x = Dropout(self.dropout)(x, train)
            if i < _POOLS:
                x = ops.max_pool2d(x, window=2)
        x = ops.global_avg_pool2d(x)
        self.sow("intermediates", "pool", x)
        for features in (*self.hidden, self.num_classes):
            x = Dense(features, kernel_init=INITIALIZERS["glorot_uniform"])(x)
        return x
