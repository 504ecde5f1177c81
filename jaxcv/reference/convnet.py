"""The three-layer ConvNet of CS231n's second assignment, with its loss and gradients."""

import math

from jaxcv.reference.activations import relu, relu_backward
from jaxcv.reference.arrays import Real, Values, as_float64
from jaxcv.reference.dense import dense, dense_backward
from jaxcv.reference.parameters import Gradients, Params, read_layers
from jaxcv.reference.penalties import l2_penalty, l2_penalty_backward
from jaxcv.reference.sandwiches import conv_relu_pool, conv_relu_pool_backward
from jaxcv.reference.softmax import cross_entropy, cross_entropy_backward


def three_layer_convnet_loss(
    params: Params, x: Values, labels: Values, l2: Real = 0.0
) -> tuple[float, Gradients]:
    """Loss and gradients of conv - relu - max pool 2x2 - dense - relu - dense - softmax.

    The convolution is 'same' with stride 1, the loss the mean cross-entropy plus l2 / 2 times the
    squared kernels (biases are not penalised).

    Args:
        params: {"Conv_0": {"kernel", "bias"}, "Dense_0": {...}, "Dense_1": {...}}: kernels
            (kernel_height, kernel_width, channels, filters),
            (height / 2 * width / 2 * filters, hidden) and (hidden, classes). Other names do, as
            long as the dense layers sort in order.
        x: (batch, height, width, channels); flattened in that order after the pooling.
        labels: (batch,), integers.
        l2: Weight decay; not negative.

    Returns:
        (loss in nats, gradients of the structure of params).

    Raises:
        ValueError: Shapes that do not fit, an empty batch, or a label or l2 out of range.
    """
    conv, hidden, output = read_layers(params, convolutions=1, denses=2)
    x = as_float64(x, "x", "batch height width channels")

    pooled = conv_relu_pool(x, conv.kernel, conv.bias)
    flat = pooled.reshape(pooled.shape[0], math.prod(pooled.shape[1:]))
    before = dense(flat, hidden.kernel, hidden.bias)
    after = relu(before)
    logits = dense(after, output.kernel, output.bias)
    loss = cross_entropy(logits, labels)

    gradients: Gradients = {}
    dlogits = cross_entropy_backward(1.0, logits, labels)
    dafter, dkernel, dbias = dense_backward(dlogits, after, output.kernel)
    gradients[output.name] = {"kernel": dkernel, "bias": dbias}
    dbefore = relu_backward(dafter, before)
    dflat, dkernel, dbias = dense_backward(dbefore, flat, hidden.kernel)
    gradients[hidden.name] = {"kernel": dkernel, "bias": dbias}
    _, dkernel, dbias = conv_relu_pool_backward(
        dflat.reshape(pooled.shape), x, conv.kernel, conv.bias
    )
    gradients[conv.name] = {"kernel": dkernel, "bias": dbias}

    for layer in (conv, hidden, output):
        loss += l2_penalty(layer.kernel, l2)
        gradients[layer.name]["kernel"] += l2_penalty_backward(1.0, layer.kernel, l2)
    return loss, gradients
