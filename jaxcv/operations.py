"""What training costs in operations, counted from the shapes of the layers."""

import jax

from jaxcv import training
from jaxcv.experiment import Experiment
from jaxcv.inspection import inspect


def training_operations(experiment: Experiment, image_shape: tuple[int, int, int]) -> int:
    """Operations of a training image in convolutions and matrix products, two a multiply-add.

    Each layer counts once for its output, once for the gradient of its kernel, and once for the
    gradient of its input: as direct convolutions, however they are computed. What no gradient
    passes through counts only for what it computes: a kernel that is not trained has no gradient,
    and nobody asks for the input's gradient where nothing before the layer is trained. The number
    is of training alone: not of evaluation, augmentation or the update rule.

    Args:
        experiment: what is trained.
        image_shape: height, width and channels.
    """
    state = jax.eval_shape(lambda: training.init(experiment, jax.random.key(0), image_shape))
    kernels = {
        "/".join(str(key.key) for key in path[:-1])
        for path, leaf in jax.tree_util.tree_leaves_with_path(state.params)
        if leaf.ndim > 1
    }
    passes, trained_before = 0, False
    for layer in inspect(experiment.model, image_shape).layers:
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
    return training_operations(experiment, image_shape) * images / 1e15
