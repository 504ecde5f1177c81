"""A step of gradient descent in NumPy, for networks of convolutions and dense layers."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxcv import reference
from jaxcv.losses import CrossEntropy
from jaxcv.reconstruction import SparseReconstruction


def numpy_step(
    params: Mapping[str, Any], images: np.ndarray, labels: np.ndarray, loss: Any
) -> dict[str, np.ndarray] | None:
    """Parameters after one step of learning rate 1, by path; None for other networks.

    Understood are the sparse autoencoder under its cost, and, under a cross-entropy with an L2
    penalty, blocks of `Conv_i` (3×3 'same', ReLU, 2×2 max pooling), flattened, then layers
    `Dense_i` with ReLU between them.
    """
    if isinstance(loss, SparseReconstruction):
        numbers = (float(loss.decay), float(loss.sparsity_weight), float(loss.sparsity))
        _, gradients = reference.autoencoder_cost(params, images.reshape(len(images), -1), *numbers)
        return {
            f"{layer}/{name}": params[layer][name] - gradient
            for layer, arrays in gradients.items()
            for name, gradient in arrays.items()
        }
    convolutions = sorted(name for name in params if name.startswith("Conv_"))
    denses = sorted(name for name in params if name.startswith("Dense_"))
    known = set(params) == {*convolutions, *denses} and denses
    if not known or not isinstance(loss, CrossEntropy):
        return None
    x, pulls = images, []
    for name in convolutions:
        kernel, bias = params[name]["kernel"], params[name]["bias"]
        pulls.append((name, reference.conv_relu_pool_backward, (x, kernel, bias)))
        x = reference.conv_relu_pool(x, kernel, bias)
    pooled = x.shape
    x = x.reshape(len(x), -1)
    hidden = []
    for name in denses:
        kernel, bias = params[name]["kernel"], params[name]["bias"]
        z = reference.dense(x, kernel, bias)
        hidden.append((name, x, z))
        x = z if name == denses[-1] else reference.relu(z)
    dy = reference.cross_entropy_backward(1.0, x, labels, float(loss.label_smoothing))
    updated: dict[str, np.ndarray] = {}

    def update(name: str, dkernel: np.ndarray, dbias: np.ndarray) -> None:
        kernel, bias = params[name]["kernel"], params[name]["bias"]
        decay = reference.l2_penalty_backward(1.0, kernel, float(loss.l2))
        updated[f"{name}/kernel"] = kernel - dkernel - decay
        updated[f"{name}/bias"] = bias - dbias

    for name, x, z in reversed(hidden):
        if name != denses[-1]:
            dy = reference.relu_backward(dy, z)
        dy, dkernel, dbias = reference.dense_backward(dy, x, params[name]["kernel"])
        update(name, dkernel, dbias)
    dy = dy.reshape(pooled)
    for name, backward, arguments in reversed(pulls):
        dy, dkernel, dbias = backward(dy, *arguments)
        update(name, dkernel, dbias)
    return updated
