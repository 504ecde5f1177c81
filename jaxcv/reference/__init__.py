"""The reference: layers, losses and small networks in NumPy float64, gradients derived by hand.

It is what the rest is proven against, so it is written to be read: loops over windows and plain
sums, no JAX, no automatic differentiation. Images are (batch, height, width, channels), kernels
(height, width, channels_in, channels_out). `f_backward(dy, ...)` takes the gradient of the loss
with respect to f's output, and what f was given, and returns the gradients with respect to f's
differentiable inputs, in their order. Inputs are cast to float64; wrong shapes and empty batches
raise ValueError.
"""

from jaxcv.reference.activations import (
    elu,
    elu_backward,
    gelu,
    gelu_backward,
    leaky_relu,
    leaky_relu_backward,
    log_sigmoid,
    log_sigmoid_backward,
    relu,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    tanh,
    tanh_backward,
)
from jaxcv.reference.autoencoder import autoencoder_cost
from jaxcv.reference.batch_normalization import (
    batch_norm,
    batch_norm_backward,
    batch_norm_ncl,
    batch_norm_ncl_backward,
)
from jaxcv.reference.convnet import three_layer_convnet_loss
from jaxcv.reference.convolution import (
    conv2d,
    conv2d_backward,
    conv2d_nchw,
    conv2d_nchw_backward,
)
from jaxcv.reference.dense import dense, dense_backward
from jaxcv.reference.dropout import dropout, dropout_backward
from jaxcv.reference.gradients import GradientCheck, central_difference, check_gradient
from jaxcv.reference.group_normalization import (
    group_norm,
    group_norm_backward,
    layer_norm,
    layer_norm_backward,
)
from jaxcv.reference.penalties import (
    kl_sparsity,
    kl_sparsity_backward,
    kl_sparsity_from_logits,
    kl_sparsity_from_logits_backward,
    l2_penalty,
    l2_penalty_backward,
)
from jaxcv.reference.pooling import (
    avg_pool2d,
    avg_pool2d_backward,
    global_avg_pool2d,
    global_avg_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
    max_pool2d_nchw,
    max_pool2d_nchw_backward,
)
from jaxcv.reference.predict import predict_cnn
from jaxcv.reference.sandwiches import (
    conv_relu,
    conv_relu_backward,
    conv_relu_pool,
    conv_relu_pool_backward,
)
from jaxcv.reference.softmax import (
    cross_entropy,
    cross_entropy_backward,
    log_softmax,
    log_softmax_backward,
    softmax,
    softmax_backward,
)

__all__ = [
    "GradientCheck",
    "autoencoder_cost",
    "avg_pool2d",
    "avg_pool2d_backward",
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_ncl",
    "batch_norm_ncl_backward",
    "central_difference",
    "check_gradient",
    "conv2d",
    "conv2d_backward",
    "conv2d_nchw",
    "conv2d_nchw_backward",
    "conv_relu",
    "conv_relu_backward",
    "conv_relu_pool",
    "conv_relu_pool_backward",
    "cross_entropy",
    "cross_entropy_backward",
    "dense",
    "dense_backward",
    "dropout",
    "dropout_backward",
    "elu",
    "elu_backward",
    "gelu",
    "gelu_backward",
    "global_avg_pool2d",
    "global_avg_pool2d_backward",
    "group_norm",
    "group_norm_backward",
    "kl_sparsity",
    "kl_sparsity_backward",
    "kl_sparsity_from_logits",
    "kl_sparsity_from_logits_backward",
    "l2_penalty",
    "l2_penalty_backward",
    "layer_norm",
    "layer_norm_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "log_sigmoid",
    "log_sigmoid_backward",
    "log_softmax",
    "log_softmax_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "max_pool2d_nchw",
    "max_pool2d_nchw_backward",
    "predict_cnn",
    "relu",
    "relu_backward",
    "sigmoid",
    "sigmoid_backward",
    "softmax",
    "softmax_backward",
    "tanh",
    "tanh_backward",
    "three_layer_convnet_loss",
]
