"""What training costs in operations, counted from the shapes of the layers."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcv.experiment import Experiment
from jaxcv.inspection import inspect


@functools.lru_cache(maxsize=64)
def training_operations(model: nn.Module, image_shape: tuple[int, int, int]) -> int:
    """Operations of a training image in convolutions and matrix products, two a multiply-add.

    Each layer counts once for its output, once for the gradient of its kernel, and once for the
    gradient of its input: as direct convolutions, however they are computed. What no gradient
    passes through counts only for what it computes: a kernel that is not trained has no gradient,
    and nobody asks for the input's gradient where nothing before the layer is trained. The number
    is of training alone: not of evaluation, augmentation or the update rule.

    Args:
        model: what is trained.
        image_shape: height, width and channels.
    """
    image = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    params = jax.eval_shape(model.init, jax.random.key(0), image)["params"]
    kernels = {
        "/".join(str(key.key) for key in path[:-1])
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
        if leaf.ndim > 1
    }
    passes, trained_before = 0, False
    for layer in inspect(model, image_shape).layers:
        times = 1 + (layer.name in kernels) + trained_before
        passes += times * layer.multiply_adds
        trained_before |= layer.parameters > 0
    return 2 * passes


def training_pflop(
    experiment: Experiment, image_shape: tuple[int, int, int], images: int
) -> float | None:
    """Operations of a whole training in units of 10¹⁵.

    Args:
        experiment: what was trained.
        image_shape: height, width and channels.
        images: how often an image was trained on; steps × batch.

    Returns:
        None for an optimizer that evaluates the objective a varying number of times a step.
    """
    if experiment.optimizer.exact:
        return None
    return training_operations(experiment.model, image_shape) * images / 1e15
