"""One convolution with pooling and two dense layers (CS231n 2019, assignment 2, in NumPy)."""

from flax import linen as nn
from jaxtyping import Array, Float

from jaxcv import ops
from jaxcv.constraints import Count, Positive
from jaxcv.layers import Conv, Dense


class ConvPoolNet(nn.Module):
    """Convolution, ReLU, 2×2 max pooling, dense, ReLU, dense.

    With 7×7×32 and 500 hidden units: 4,106,246 parameters on 32×32×3 images with ten classes.
    `jaxcv.reference.three_layer_convnet_loss` is its loss in NumPy, with gradients by hand.

    Attributes:
        features: channels of the convolution
        kernel_size: side of its window
        hidden: width of the hidden dense layer
        weight_scale: standard deviation of all kernels at the start, whatever their size
        num_classes: number of logits
    """

    features: Count = 32
    kernel_size: Count = 7
    hidden: Count = 500
    weight_scale: Positive = 1e-3
    num_classes: Count = 10

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"], train: bool = False
    ) -> Float[Array, "batch classes"]:
        """Logits of a batch of images."""
        normal = nn.initializers.normal(self.weight_scale)
        x = Conv(
            self.features,
            (self.kernel_size, self.kernel_size),
            kernel_init=normal,
        )(images)
        x = nn.relu(x)
        self.sow("intermediates", "conv1", x)
        x = ops.max_pool2d(x, window=2)
        self.sow("intermediates", "pool1", x)
        x = nn.relu(Dense(self.hidden, kernel_init=normal)(x.reshape(x.shape[0], -1)))
        self.sow("intermediates", "hidden1", x)
        return Dense(self.num_classes, kernel_init=normal)(x)
