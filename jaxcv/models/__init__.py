"""Networks, each called as `model(images, train=False)`.

They return logits, or a named tuple that their loss understands.

`MODELS` is the table of what experiment.json and the command line may name. To add a network,
write a file beside these with one module in it and add its line here. `network` gives those of the
experiments by name, with their settings.
"""

from jaxcv.models.autoencoder import Autoencoder
from jaxcv.models.challenge_net import ChallengeNet
from jaxcv.models.cnn import CNN
from jaxcv.models.cnn_batchnorm import CNNBatchNorm
from jaxcv.models.cnn_global_pool import CNNGlobalPool
from jaxcv.models.conv_pool_net import ConvPoolNet
from jaxcv.models.densenet import DenseNet
from jaxcv.models.intermediates import intermediates
from jaxcv.models.mlp import MLP
from jaxcv.models.networks import NETWORKS, network
from jaxcv.models.resnet import ResNet
from jaxcv.models.resnet9 import ResNet9
from jaxcv.models.resnet_stacks import ResNetStacks
from jaxcv.models.softmax import Softmax
from jaxcv.models.speedrun import Speedrun
from jaxcv.models.three_layer_convnet import ThreeLayerConvNet

MODELS = {
    "Autoencoder": Autoencoder,
    "CNN": CNN,
    "CNNBatchNorm": CNNBatchNorm,
    "CNNGlobalPool": CNNGlobalPool,
    "ChallengeNet": ChallengeNet,
    "ConvPoolNet": ConvPoolNet,
    "DenseNet": DenseNet,
    "MLP": MLP,
    "ResNet": ResNet,
    "ResNet9": ResNet9,
    "ResNetStacks": ResNetStacks,
    "Softmax": Softmax,
    "Speedrun": Speedrun,
    "ThreeLayerConvNet": ThreeLayerConvNet,
}

__all__ = [
    "CNN",
    "MLP",
    "MODELS",
    "NETWORKS",
    "Autoencoder",
    "CNNBatchNorm",
    "CNNGlobalPool",
    "ChallengeNet",
    "ConvPoolNet",
    "DenseNet",
    "ResNet",
    "ResNet9",
    "ResNetStacks",
    "Softmax",
    "Speedrun",
    "ThreeLayerConvNet",
    "intermediates",
    "network",
]
