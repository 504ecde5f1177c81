"""A trained CNN's forward pass in NumPy alone."""

import numpy as np
from jaxtyping import Float64

from jaxcv.reference.arrays import Values, as_float64
from jaxcv.reference.dense import dense
from jaxcv.reference.parameters import Params, read_layers
from jaxcv.reference.sandwiches import conv_relu_pool
from jaxcv.reference.softmax import softmax


def predict_cnn(
    params: Params, image: Values, mean: Values = 0.0, scale: Values = 1.0
) -> Float64[np.ndarray, "*batch classes"]:
    """Class probabilities of the CNN exercise's network (2019).

    (conv 3x3 'same' + bias, relu, max pool 2x2) twice, flatten, dense, softmax. Convolutions with
    kernels of another size work too.

    Args:
        params: {"Conv_0": {"kernel", "bias"}, "Conv_1": {...}, "Dense_0": {...}} as Flax stores
            them, inside "params" or not: kernels (3, 3, channels, features_0),
            (3, 3, features_0, features_1) and (height // 4 * (width // 4) * features_1, classes).
            Other names do, as long as the convolutions sort in order.
        image: (height, width, channels), or (batch, height, width, channels).
        mean: Subtracted from the image first; anything that broadcasts against one image.
        scale: What the difference is then divided by: 255 for pixels that were trained on as
            [0, 1] (and the mean in units of 0 to 255), or the standard deviation.

    Returns:
        (classes,), or (batch, classes) for a batch; each row sums to 1.

    Raises:
        ValueError: Other layers, shapes that do not fit, or an empty batch.
    """
    first, second, output = read_layers(params, convolutions=2, denses=1)
    image = as_float64(image, "image", "... height width channels")
    x = (image - as_float64(mean, "mean", "...")) / as_float64(scale, "scale", "...")
    if x.shape != image.shape:
        raise ValueError(f"mean and scale must fit an image of shape {image.shape}")
    if x.ndim == 3:
        x = x[None]
    x = conv_relu_pool(x, first.kernel, first.bias)
    x = conv_relu_pool(x, second.kernel, second.bias)
    probabilities = softmax(dense(x.reshape(x.shape[0], -1), output.kernel, output.bias))
    return probabilities[0] if image.ndim == 3 else probabilities
