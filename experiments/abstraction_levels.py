"""One network at three levels of abstraction: bare functions, a module, a list of layers.

python experiments/abstraction_levels.py [--data cifar10]

The two-layer net (dense 256, ReLU, dense) and the three-layer ConvNet (convolutions 5×5×32 and
3×3×16 with ReLU, dense) are each written three times. At every level a network is a function from
parameters and images to logits: one loop trains them all, and from the same parameters they give
the same logits and stay together while they learn. What a level adds is who names, shapes and draws
the parameters. The picture has the three training losses of each network, one upon the other.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxcv import models, ops
from jaxcv.layers import Conv, Dense
from jaxcv.losses import cross_entropy
from jaxcv.plots import against
from jaxcv.questions import Flags, ask

HIDDEN, FEATURES, SIZES = 256, (32, 16), (5, 3)
BATCH, RATE = 64, {"two-layer net": 1e-2, "three-layer ConvNet": 3e-3}
HE_NORMAL = nn.initializers.he_normal()


# --- bare functions on a dict of arrays ---------------------------------------------------------


def two_layer(params, images):
    hidden = jax.nn.relu(images.reshape(len(images), -1) @ params["w1"] + params["b1"])
    return hidden @ params["w2"] + params["b2"]


def three_layer(params, images):
    x = jax.nn.relu(ops.conv2d(images, params["w1"], params["b1"]))
    x = jax.nn.relu(ops.conv2d(x, params["w2"], params["b2"]))
    return x.reshape(len(x), -1) @ params["w3"] + params["b3"]


def draw(key, *shapes):
    """He-normal kernels w1, w2, … of these shapes, and biases b1, b2, … of zeros."""
    params = {}
    for i, shape in enumerate(shapes, start=1):
        params[f"w{i}"] = HE_NORMAL(jax.random.fold_in(key, i), shape)
        params[f"b{i}"] = jnp.zeros(shape[-1])
    return params


# --- modules ------------------------------------------------------------------------------------

two_layer_module = models.MLP((HIDDEN,), kernel_init="he_normal", output_init="he_normal")
three_layer_module = models.ThreeLayerConvNet(FEATURES, SIZES)


# --- lists of layers ----------------------------------------------------------------------------


def flatten(x):
    return x.reshape(len(x), -1)


two_layer_list = nn.Sequential([flatten, Dense(HIDDEN), nn.relu, Dense(10)])
three_layer_list = nn.Sequential(
    [
        Conv(FEATURES[0], (SIZES[0], SIZES[0])),
        nn.relu,
        Conv(FEATURES[1], (SIZES[1], SIZES[1])),
        nn.relu,
        flatten,
        Dense(10),
    ]
)


# --- the same parameters, named as each level names them ----------------------------------------


def renamed(params, *layers: str) -> dict[str, Any]:
    """w1, b1, w2, … as Flax nests them: {layer: {"kernel", "bias"}}."""
    return {
        layer: {"kernel": params[f"w{i}"], "bias": params[f"b{i}"]}
        for i, layer in enumerate(layers, start=1)
    }


def levels(shape: tuple[int, int, int], key) -> dict[str, dict[str, tuple[Callable, Any]]]:
    """Network → level → (function of parameters and images, parameters); all start the same."""
    height, width, channels = shape
    dense = draw(key, (height * width * channels, HIDDEN), (HIDDEN, 10))
    (first, second), (wide, narrow) = FEATURES, SIZES
    conv = draw(
        key,
        (wide, wide, channels, first),
        (narrow, narrow, first, second),
        (height * width * second, 10),
    )

    def applied(module: nn.Module) -> Callable:
        return lambda params, images: module.apply({"params": params}, images)

    return {
        "two-layer net": {
            "functions": (two_layer, dense),
            "module": (applied(two_layer_module), renamed(dense, "Dense_0", "Dense_1")),
            "list": (applied(two_layer_list), renamed(dense, "layers_1", "layers_3")),
        },
        "three-layer ConvNet": {
            "functions": (three_layer, conv),
            "module": (applied(three_layer_module), renamed(conv, "conv1", "conv2", "dense")),
            "list": (applied(three_layer_list), renamed(conv, "layers_0", "layers_2", "layers_5")),
        },
    }


def losses(function: Callable, params, images, labels, rate: float) -> np.ndarray:
    """Trains by gradient descent on batch after batch; the loss before each step."""

    @jax.jit
    def step(params, x, y):
        loss, gradient = jax.value_and_grad(lambda p: cross_entropy(function(p, x), y))(params)
        return jax.tree.map(lambda p, g: p - rate * g, params, gradient), loss

    found = []
    for x, y in zip(images, labels, strict=True):
        params, loss = step(params, x, y)
        found.append(loss)
    return np.array(jax.device_get(found))


def answer(flags: Flags) -> None:
    data = flags.dataset()
    rng = np.random.default_rng(flags.seed)
    steps = len(data.train) // BATCH
    order = np.concatenate(
        [rng.permutation(data.train)[: steps * BATCH] for _ in range(flags.epochs)]
    ).reshape(-1, BATCH)
    mean, deviation = data.images[data.train].mean(), data.images[data.train].std()
    images = ((data.images[i] - mean) / deviation for i in order)
    batches = [jnp.asarray(x, jnp.float32) for x in images]
    labels = [jnp.asarray(data.labels[i]) for i in order]

    curves = {}
    for network, written in levels(data.image_shape, jax.random.key(flags.seed)).items():
        logits = {level: f(params, batches[0]) for level, (f, params) in written.items()}
        spread = max(float(jnp.abs(z - logits["functions"]).max()) for z in logits.values())
        print(f"{network}: logits of the three levels differ by at most {spread:.1e}")
        for level, (function, params) in written.items():
            curve = losses(function, params, batches, labels, RATE[network])
            curves[f"{network}, {level}"] = curve
            print(f"  {level:<9}  loss {curve[0]:.4f} at first, {curve[-1]:.4f} in the last step")
    flags.show(against(np.arange(1, len(order) + 1), curves, "step", "training loss"))


if __name__ == "__main__":
    ask(answer, epochs=1)
