"""Networks, each called as `model(images, train=False)`.

They return logits, or a named tuple that their loss understands.

`MODELS` is the table of what experiment.json and the command line may name. To add a network,
write a file beside these with one module in it and add its line here.
"""

from jaxcv.models.autoencoder import Autoencoder
from jaxcv.models.cnn import CNN
from jaxcv.models.cnn_batchnorm import CNNBatchNorm
from jaxcv.models.cnn_global_pool import CNNGlobalPool
from jaxcv.models.intermediates import intermediates
from jaxcv.models.mlp import MLP
from jaxcv.models.resnet import ResNet
from jaxcv.models.softmax import Softmax

MODELS = {
    "Autoencoder": Autoencoder,
    "CNN": CNN,
    "CNNBatchNorm": CNNBatchNorm,
    "CNNGlobalPool": CNNGlobalPool,
    "MLP": MLP,
    "ResNet": ResNet,
    "Softmax": Softmax,
}

__all__ = [
    "CNN",
    "MLP",
    "MODELS",
    "Autoencoder",
    "CNNBatchNorm",
    "CNNGlobalPool",
    "ResNet",
    "Softmax",
    "intermediates",
]
