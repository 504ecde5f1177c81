"""Two convolutions and a dense layer, without pooling (CS231n 2019, assignment 2)."""

from flax import linen as nn
from jaxtyping import Array, Float

from jaxcv.constraints import Count
from jaxcv.errors import UserError
from jaxcv.layers import Conv, Dense
from jaxcv.models.activations import INITIALIZERS


class ThreeLayerConvNet(nn.Module):
    """Convolutions with ReLU at full resolution, then a dense layer.

    With 5×5×32 and 3×3×16: 170,906 parameters on 32×32×3 images with ten classes, nearly all of
    them in the dense layer. All kernels start He-normal, biases at zero.

    Attributes:
        features: channels of each convolution
        kernel_sizes: side of each convolution's window
        num_classes: number of logits
    """

    features: tuple[Count, ...] = (32, 16)
    kernel_sizes: tuple[Count, ...] = (5, 3)
    num_classes: Count = 10

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"], train: bool = False
    ) -> Float[Array, "batch classes"]:
        """Logits of a batch of images.

        Raises:
            UserError: `kernel_sizes` are not as many as `features`.
        """
        if len(self.kernel_sizes) != len(self.features):
            raise UserError(
                f"--kernel-sizes must be as many as --features ({len(self.features)}), "
                f"not {len(self.kernel_sizes)}"
            )
        he_normal = INITIALIZERS["he_normal"]
        x = images
        for i, (features, size) in enumerate(zip(self.features, self.kernel_sizes, strict=True)):
            x = Conv(
                features,
                (size, size),
                kernel_init=he_normal,
                name=f"conv{i + 1}",
            )(x)
            x = nn.relu(x)
            self.sow("intermediates", f"conv{i + 1}_relu", x)
        x = x.reshape(x.shape[0], -1)
        return Dense(self.num_classes, kernel_init=he_normal, name="dense")(x)
