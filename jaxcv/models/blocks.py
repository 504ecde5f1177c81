"""What several networks are built from: convolution without bias, batch normalisation, ReLU."""

from flax import linen as nn
from jaxtyping import Array, Float

from jaxcv.constraints import Count
from jaxcv.layers import BatchNorm, Conv
from jaxcv.models.activations import INITIALIZERS, Initializer

# Of any size and depth: a block changes both.
Features = Float[Array, "batch _height _width _channels"]


class ConvBatchNorm(nn.Module):
    """3×3 convolution without bias, then batch normalisation.

    A bias would change nothing: the normalisation subtracts it again.

    Attributes:
        features: channels of the result
        stride: pixels between neighbouring windows
        use_scale: whether the normalisation learns a scale
        kernel_init: how the kernel starts
    """

    features: Count
    stride: Count = 1
    use_scale: bool = True
    kernel_init: Initializer = "he_uniform"

    @nn.compact
    def __call__(self, x: Features, train: bool) -> Features:
        """(batch, ⌈height/stride⌉, ⌈width/stride⌉, features)."""
        x = Conv(
            self.features,
            (3, 3),
            self.stride,
            use_bias=False,
            kernel_init=INITIALIZERS[self.kernel_init],
        )(x)
        return BatchNorm(use_scale=self.use_scale)(x, train)
