"""Every network against the same one written by hand with PyTorch, with the same weights."""

import importlib
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import benchmarks, losses, models, runtime
from jaxcv.benchmarks.networks import NETWORKS as MEASURED
from jaxcv.models import MODELS
from tests.oracle import torch_layers as theirs
from tests.oracle.conftest import close

torch, F = theirs.torch, theirs.F
pytestmark = pytest.mark.oracle

SMOOTHING = 0.1
# What networks take where they are not told.
MOMENTUM, EPSILON = 0.99, 1e-3


class Weights:
    """Parameters and statistics by layer; batch normalisation writes down the new statistics."""

    momentum, epsilon = MOMENTUM, EPSILON

    def __init__(self, params: dict, stats: dict, training: bool, moved: dict | None = None):
        self.params, self.stats, self.training = params, stats, training
        self.moved = {} if moved is None else moved

    def inside(self, name: str) -> "Weights":
        moved = self.moved.setdefault(name, {}) if name in self.stats else {}
        return Weights(self.params.get(name, {}), self.stats.get(name, {}), self.training, moved)

    def dense(self, name: str, x):
        return theirs.dense(x, self.params[name]["kernel"], self.params[name]["bias"])

    def conv(self, name: str, x, stride: int = 1, padding: str = "same"):
        layer = self.params[name]
        return theirs.conv2d(x, layer["kernel"], layer.get("bias"), stride, padding)

    def norm(self, name: str, x):
        params, stats = self.params.get(name, {}), self.stats[name]
        scale, bias = params.get("scale"), params.get("bias")
        y, mean, var = theirs.batch_norm(
            x, scale, bias, stats["mean"], stats["var"], self.training, self.momentum, self.epsilon
        )
        self.moved[name] = {"mean": mean, "var": var}
        return y


def conv_norm(w: Weights, x, stride: int = 1):
    return w.norm("BatchNorm_0", w.conv("Conv_0", x, stride))


def softmax(w: Weights, x):
    return w.dense("Dense_0", x.flatten(1))


def mlp(w: Weights, x, activation: Callable):
    x = activation(w.dense("Dense_0", x.flatten(1)))
    x = activation(w.dense("Dense_1", x))
    return w.dense("Dense_2", x)


def cnn(w: Weights, x):
    for i in range(2):
        x = theirs.max_pool2d(F.relu(w.conv(f"Conv_{i}", x)))
    return w.dense("Dense_0", x.flatten(1))


def cnn_batch_norm(w: Weights, x, pools: bool):
    for i in range(2):
        x = F.relu(conv_norm(w.inside(f"ConvBatchNorm_{i}"), x, 1 if pools else 2))
        x = theirs.max_pool2d(x) if pools else x
    return w.dense("Dense_0", x.flatten(1))


def cnn_global_pool(w: Weights, x):
    for i, stride in enumerate((2, 2, 1)):
        x = F.relu(conv_norm(w.inside(f"ConvBatchNorm_{i}"), x, stride))
    return w.dense("Dense_0", theirs.global_avg_pool2d(x))


def residual_block(w: Weights, x, features: int, stride: int):
    y = F.relu(conv_norm(w.inside("ConvBatchNorm_0"), x, stride))
    y = conv_norm(w.inside("ConvBatchNorm_1"), y)
    short = F.pad(x[:, ::stride, ::stride], (0, features - x.shape[3]))
    return F.relu(short + y)


def resnet(w: Weights, x, blocks: int, width: int):
    x = F.relu(conv_norm(w.inside("ConvBatchNorm_0"), x))
    for i in range(3 * blocks):
        stack, block = divmod(i, blocks)
        stride = 2 if stack and not block else 1
        x = residual_block(w.inside(f"ResidualBlock_{i}"), x, width * 2**stack, stride)
    return w.dense("Dense_0", theirs.global_avg_pool2d(x))


def three_layer_convnet(w: Weights, x):
    for name in ("conv1", "conv2"):
        x = F.relu(w.conv(name, x))
    return w.dense("dense", x.flatten(1))


def conv_pool_net(w: Weights, x):
    x = theirs.max_pool2d(F.relu(w.conv("Conv_0", x)))
    return w.dense("Dense_1", F.relu(w.dense("Dense_0", x.flatten(1))))


def challenge_net(w: Weights, x):
    """Without dropout."""
    for i in range(3):
        padding = "valid" if i > 0 and min(x.shape[1:3]) >= 3 else "same"
        x = w.conv(f"Conv_{i}", x, padding=padding)
        x = F.elu(w.norm(f"BatchNorm_{i}", x))
        x = theirs.max_pool2d(x) if i < 2 else x
    x = theirs.global_avg_pool2d(x)
    return w.dense("Dense_1", w.dense("Dense_0", x))


def resnet9(w: Weights, x):
    layer = iter(range(8))

    def conv(x):
        return F.relu(conv_norm(w.inside(f"ConvBatchNorm_{next(layer)}"), x))

    for stage in range(4):
        x = conv(x)
        x = x + conv(conv(x)) if stage >= 2 else x
        x = theirs.max_pool2d(x) if stage < 3 else x
    return w.dense("Dense_0", 0.125 * x.amax(dim=(1, 2)))


def resnet_stacks(w: Weights, x, blocks: int, width: int):
    x = residual_block(w.inside("ResidualBlock_0"), x, width, 1)
    for i in range(3 * blocks):
        stack, block = divmod(i, blocks)
        stride = 2 if stack and not block else 1
        x = residual_block(w.inside(f"ResidualBlock_{i + 1}"), x, width * 2**stack, stride)
    return w.dense("Dense_0", theirs.global_avg_pool2d(x))


def densenet(w: Weights, x, layers: int):
    convs, norms = iter(range(99)), iter(range(99))

    def conv(x):
        return w.conv(f"Conv_{next(convs)}", x)

    def norm_relu(x):
        return F.relu(w.norm(f"BatchNorm_{next(norms)}", x))

    x = conv(x)
    for block in range(3):
        if block:
            x = conv(norm_relu(x))
            x = theirs.avg_pool2d(x)
        for _ in range(layers):
            x = torch.cat([x, conv(norm_relu(x))], dim=3)
    return w.dense("Dense_0", theirs.global_avg_pool2d(norm_relu(x)))


def speedrun(w: Weights, x, scale: float = 1 / 9):
    w.momentum, w.epsilon = 0.6, 1e-12
    kernel, bias = w.stats["Whitening_0"]["kernel"], w.params["Whitening_0"]["bias"]
    x = F.gelu(theirs.conv2d(x, kernel, bias, padding="valid"))
    w.moved["Whitening_0"] = {"kernel": kernel}
    for i in range(4):
        x = w.conv(f"Conv_{i}", x)
        # Whole maps: what they have too much is dropped here.
        x = theirs.max_pool2d(x) if i % 2 == 0 else x
        x = F.gelu(w.norm(f"BatchNorm_{i}", x))
    return torch.amax(x, (1, 2)) @ w.params["Dense_0"]["kernel"] * scale


NETWORKS: dict[str, tuple[Any, Callable]] = {
    "softmax": (models.Softmax(), softmax),
    "mlp, relu": (models.MLP(features=(12, 9)), lambda w, x: mlp(w, x, F.relu)),
    "mlp, tanh": (
        models.MLP(features=(12, 9), activation="tanh"),
        lambda w, x: mlp(w, x, torch.tanh),
    ),
    "cnn": (models.CNN(features=(5, 6)), cnn),
    "cnn with batch norm": (
        models.CNNBatchNorm(features=(5, 6)),
        lambda w, x: cnn_batch_norm(w, x, pools=True),
    ),
    "cnn with batch norm and strides": (
        models.CNNBatchNorm(features=(5, 6), downsample="stride"),
        lambda w, x: cnn_batch_norm(w, x, pools=False),
    ),
    "cnn with global pooling": (models.CNNGlobalPool(features=(5, 6, 7)), cnn_global_pool),
    "resnet of depth 8": (models.ResNet(8, 4), lambda w, x: resnet(w, x, 1, 4)),
    "three-layer convnet": (models.ThreeLayerConvNet((5, 6), (5, 3)), three_layer_convnet),
    "convolution and pooling": (
        models.ConvPoolNet(4, 5, 7, weight_scale=0.3),
        conv_pool_net,
    ),
    "challenge": (models.ChallengeNet((4, 5, 6), hidden=(7,), dropout=0.0), challenge_net),
    "resnet of nine layers": (models.ResNet9((4, 5, 6, 7)), resnet9),
    "resnet of stacks": (models.ResNetStacks(2, 4), lambda w, x: resnet_stacks(w, x, 2, 4)),
    "densenet of depth 10": (models.DenseNet(10, 3), lambda w, x: densenet(w, x, 2)),
    "speed run": (models.Speedrun((5, 6)), speedrun),
    "resnet of depth 20": (models.ResNet(20, 4), lambda w, x: resnet(w, x, 3, 4)),
}


def test_every_network_has_its_peer():
    # The autoencoder has no logits: its cost and gradient are held against reference/.
    compared = {type(model) for model, _ in NETWORKS.values()}
    assert compared | {models.Autoencoder} == set(MODELS.values())


def drawn(rng, shape, variables) -> tuple[dict, dict]:
    """Parameters of their initial size, and statistics as of some training, in float64."""
    params = jax.tree.map(
        lambda p: np.asarray(p, np.float64) + 0.1 * rng.standard_normal(p.shape),
        variables["params"],
    )
    stats = jax.tree.map(
        lambda p: np.asarray(p, np.float64) + 0.5 * rng.random(p.shape),
        variables.get("batch_stats", {}),
    )
    return params, stats


def tensors(tree, gradients: bool):
    return jax.tree.map(lambda a: torch.tensor(np.asarray(a), requires_grad=gradients), tree)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_network(rng, name, training):
    model, peer = NETWORKS[name]
    images, labels = rng.standard_normal((4, 9, 8, 3)), rng.integers(0, 10, 4)
    variables = model.init(jax.random.key(0), jnp.zeros((1, 9, 8, 3)))
    params, stats = drawn(rng, images.shape, variables)

    theirs_params, theirs_images = tensors(params, True), torch.tensor(images, requires_grad=True)
    weights = Weights(theirs_params, tensors(stats, False), training)
    logits = peer(weights, theirs_images)
    loss = F.cross_entropy(logits, torch.tensor(labels), label_smoothing=SMOOTHING)
    loss.backward()

    def objective(params, images):
        logits, moved = model.apply(
            {"params": params, "batch_stats": stats},
            images,
            training,
            mutable=["batch_stats"],
            rngs={"dropout": jax.random.key(0)},  # of rate 0
        )
        value = losses.cross_entropy(logits, jnp.asarray(labels), SMOOTHING)
        return value, (logits, moved.get("batch_stats", {}))

    with jax.enable_x64(True):
        params, stats = jax.tree.map(jnp.asarray, (params, stats))
        step = jax.jit(jax.value_and_grad(objective, (0, 1), has_aux=True))
        (value, (ours, moved)), gradients = step(params, jnp.asarray(images))
        close(ours, logits.detach(), "logits")
        close(value, loss.detach(), "loss")
        close(gradients[1], theirs_images.grad, "gradient of the images")
        their_gradients = jax.tree.map(lambda t: t.grad.numpy(), theirs_params)
        same(gradients[0], their_gradients, "gradient")
        if stats:
            same(moved, jax.tree.map(lambda t: t.numpy(), weights.moved), "statistics")


def same(ours, their, what: str) -> None:
    """Each leaf of one tree is close to the other's."""
    assert jax.tree.structure(ours) == jax.tree.structure(their)
    leaves = jax.tree_util.tree_leaves_with_path(ours)
    for (path, leaf), other in zip(leaves, jax.tree.leaves(their), strict=True):
        close(leaf, other, f"{what} of {jax.tree_util.keystr(path)}")


@pytest.mark.parametrize("name", MEASURED)
def test_the_bench_trains_as_many_numbers(name, monkeypatch):
    workers = Path(benchmarks.__file__).parent / "workers"
    monkeypatch.syspath_prepend(str(workers))
    worker = runpy.run_path(str(workers / "pytorch.py"))
    trained = [p for p in worker["network"](name).parameters() if p.requires_grad]
    with monkeypatch.context() as patch:
        patch.setattr(runtime, "set_up", lambda: None)
        ours = importlib.import_module("jaxcv.benchmarks.workers.ours")
    images = jax.ShapeDtypeStruct((1, *MEASURED[name].image_shape), np.float32)
    params = jax.eval_shape(ours.MODELS[name].init, jax.random.key(0), images)["params"]
    assert sorted(p.numel() for p in trained) == sorted(p.size for p in jax.tree.leaves(params))
