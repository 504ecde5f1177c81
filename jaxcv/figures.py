"""Which pictures a run leaves in figures/, from its parameters and its metrics."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, PyTree

from jaxcv import plots
from jaxcv.data.dataset import Dataset

# Test images in the grid of predictions.
_SHOWN = 24


def first_kernel(params: PyTree, image_shape: Sequence[int]) -> Array | np.ndarray | None:
    """The kernel that sees the image: of a convolution, or of a dense layer on all pixels."""
    pixels = int(np.prod(image_shape))
    kernels = [
        leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
        if path[-1] == jax.tree_util.DictKey("kernel")
        and (
            (leaf.ndim == 4 and leaf.shape[2] == image_shape[-1])
            or (leaf.ndim == 2 and leaf.shape[0] == pixels)
        )
    ]
    return kernels[0] if kernels else None


def write_figures(
    directory: Path,
    params: PyTree,
    dataset: Dataset,
    test_probabilities: Float[np.ndarray, "n_test classes"],
    metrics: Sequence[Mapping[str, Any]],
    best_epoch: int,
) -> list[Path]:
    """Draws curves, first-layer weights, predictions and the confusion matrix.

    Args:
        directory: figures/ of a workdir.
        params: the trained parameters.
        dataset: what was trained and tested on.
        test_probabilities: of all test images, in the order of `dataset.test`.
        metrics: the records of metrics.jsonl.
        best_epoch: the epoch that the curves mark.

    Returns:
        The files written.
    """
    labels = dataset.labels[dataset.test]
    shown = np.random.default_rng(0).choice(len(labels), min(_SHOWN, len(labels)), replace=False)
    figures = {
        "curves": plots.curves(metrics, best_epoch),
        "predictions": plots.predictions(
            dataset.images[dataset.test[shown]],
            labels[shown],
            test_probabilities[shown],
            dataset.classes,
        ),
        "confusion": plots.confusion(labels, test_probabilities.argmax(axis=1), dataset.classes),
    }
    kernel = first_kernel(params, dataset.image_shape)
    if kernel is not None:
        weights = np.asarray(kernel, np.float32)
        linear = weights.ndim == 2 and weights.shape[1] == dataset.num_classes
        figures["weights"] = (
            plots.templates(weights, dataset.image_shape, dataset.classes)
            if linear
            else plots.filters(weights, dataset.image_shape)
        )
    paths = []
    for name, figure in figures.items():
        path = directory / f"{name}.png"
        plots.save(figure, path)
        paths.append(path)
    return paths
