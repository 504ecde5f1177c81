"""Dense layers with an activation between them."""

from flax import linen as nn
from jaxtyping import Array, Float

from jaxcv.constraints import Count
from jaxcv.layers import Dense
from jaxcv.models.activations import ACTIVATIONS, INITIALIZERS, Activation, Initializer, inputs


class MLP(nn.Module):
    """Multi-layer perceptron on the flattened image.

    With one hidden layer of 512: 1,578,506 parameters on 32×32×3 images with ten classes. Biases
    start at zero.

    Attributes:
        features: width of each hidden layer
        activation: function after each hidden layer
        kernel_init: how the hidden kernels start
        output_init: how the last kernel starts
        num_classes: number of logits
    """

    features: tuple[Count, ...] = (512,)
    activation: Activation = "relu"
    kernel_init: Initializer = "he_normal"
    output_init: Initializer = "glorot_uniform"
    num_classes: Count = 10

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"], train: bool = False
    ) -> Float[Array, "batch classes"]:
        """Logits of a batch of images."""
        x = images.reshape(images.shape[0], -1)
        for i, features in enumerate(self.features):
            width = inputs(self.activation, features)
            x = Dense(width, kernel_init=INITIALIZERS[self.kernel_init])(x)
            x = ACTIVATIONS[self.activation](x)
            self.sow("intermediates", f"hidden{i + 1}", x)
        return Dense(self.num_classes, kernel_init=INITIALIZERS[self.output_init])(x)
