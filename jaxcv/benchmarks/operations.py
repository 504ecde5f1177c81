"""Nominal operations of a training step, counted from the shapes of the layers with kernels.

A multiply-add counts as two operations. Training an image takes the forward pass, the gradient of
each kernel that is trained, and the gradient of each layer's input but the first one's. Biases,
normalisations, activations and the optimizer are left out: they are what a share of the
matrix-product rate loses.
"""

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Layer:
    """A convolution or, on one place, a dense layer.

    Attributes:
        places: output positions of an image, height × width
        kernel: shape of the kernel, output channels last
        frozen: whether the kernel stays as it is
    """

    places: int
    kernel: tuple[int, ...]
    frozen: bool = False

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of an image's forward pass."""
        product = self.places
        for size in self.kernel:
            product *= size
        return product


def dense(inputs: int, outputs: int) -> Layer:
    """A dense layer."""
    return Layer(1, (inputs, outputs))


def conv(size: int, inputs: int, outputs: int, window: int = 3) -> Layer:
    """A convolution whose output is size × size."""
    return Layer(size * size, (window, window, inputs, outputs))


def forward_operations(layers: Sequence[Layer]) -> int:
    """Operations of an image's forward pass."""
    return 2 * sum(layer.multiply_adds for layer in layers)


def training_operations(layers: Sequence[Layer]) -> int:
    """Operations of an image's share of a training step."""
    kernels = [layer for layer in layers if not layer.frozen]
    return sum(map(forward_operations, (layers, kernels, layers[1:])))
