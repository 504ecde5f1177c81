"""The classifiers of the experiments by name, with their settings: what `jaxcv inspect` knows."""

import difflib
import re
from collections.abc import Mapping
from types import MappingProxyType

from flax import linen as nn

from jaxcv.errors import UserError
from jaxcv.models.challenge_net import ChallengeNet
from jaxcv.models.cnn import CNN
from jaxcv.models.cnn_batchnorm import CNNBatchNorm
from jaxcv.models.cnn_global_pool import CNNGlobalPool
from jaxcv.models.conv_pool_net import ConvPoolNet
from jaxcv.models.densenet import DenseNet
from jaxcv.models.mlp import MLP
from jaxcv.models.resnet import ResNet
from jaxcv.models.resnet9 import ResNet9
from jaxcv.models.resnet_stacks import ResNetStacks
from jaxcv.models.softmax import Softmax
from jaxcv.models.speedrun import Speedrun
from jaxcv.models.three_layer_convnet import ThreeLayerConvNet

NETWORKS: Mapping[str, nn.Module] = MappingProxyType(
    {
        "softmax_sgd": Softmax(),
        "softmax_adam": Softmax(),
        "mlp_tanh": MLP((512,), activation="tanh", kernel_init="glorot_uniform"),
        "mlp_relu": MLP((512,), activation="relu", kernel_init="he_normal"),
        "cnn": CNN((64, 64)),
        "cnn_batchnorm": CNNBatchNorm((64, 64), downsample="pool"),
        "cnn_strides": CNNBatchNorm((64, 64), downsample="stride"),
        "cnn_global_pool": CNNGlobalPool((64, 64, 64)),
        "two_layer": MLP((4000,), kernel_init="he_normal", output_init="he_normal"),
        "three_layer_sgd": ThreeLayerConvNet((32, 16), kernel_sizes=(5, 3)),
        "three_layer_nesterov": ThreeLayerConvNet((32, 16), kernel_sizes=(5, 5)),
        "conv_pool": ConvPoolNet(hidden=500, weight_scale=1e-3),
        "challenge": ChallengeNet((32, 64, 128), dropout=0.0),
        "resnet9": ResNet9(),
        "resnet_stacks": ResNetStacks(blocks=10),
        "cifar10_94": Speedrun(logit_scale=1 / 256, unit_head=True),
        "resnet20_short": ResNet(depth=20),
        "densenet": DenseNet(depth=22, growth=12),
    }
)


def network(name: str) -> nn.Module:
    """A network by its experiment's name; "resnet20" for a `ResNet` of depth 20, and so on.

    Raises:
        UserError: there is none of this name.

    Example:
        >>> network("resnet32").depth
        32
    """
    if name in NETWORKS:
        return NETWORKS[name]
    depth = re.fullmatch(r"resnet(\d{1,4})", name)
    if depth:
        if int(depth[1]) < 8 or int(depth[1]) % 6 != 2:
            raise UserError(f"{name}: the depth must be 6n + 2: 8, 14, 20, 26, 32, ...")
        return ResNet(depth=int(depth[1]))
    known = [*NETWORKS, "resnet20", "resnet56"]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(NETWORKS)}, resnet20, ..."
    raise UserError(f"no network {name!r}; {hint}")
