"""Which pictures a run leaves in figures/: what its loss can show of its test images."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jaxtyping import Array, PyTree, Real

from jaxcv import plots
from jaxcv.data.dataset import Dataset
from jaxcv.losses import CrossEntropy, Loss
from jaxcv.reconstruction import SparseReconstruction

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Test images in the grid of predictions.
_SHOWN = 24
# Of images beside their reconstructions.
_PAIRS = 12


@dataclasses.dataclass(frozen=True)
class Pictured:
    """What a run has come to, on the host.

    Attributes:
        dataset: what was trained and tested on.
        params: the trained parameters.
        predictions: what the network says of all test images, in the order of `dataset.test`.
        totals: the loss's, of the test images.
        metrics: the records of metrics.jsonl.
        best_epoch: the epoch that the curves mark.
    """

    dataset: Dataset
    params: PyTree
    predictions: Real[np.ndarray, "n_test ..."]
    totals: Mapping[str, Any]
    metrics: Sequence[Mapping[str, Any]]
    best_epoch: int


def first_kernel(params: PyTree, image_shape: Sequence[int]) -> Array | np.ndarray | None:
    """The kernel that sees the image: of a convolution, or of a dense layer on all pixels.

    Never a decoder's: with as many hidden units as pixels its kernel has the same shape.
    """
    pixels = int(np.prod(image_shape))
    kernels = [
        leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
        if path[-1] == jax.tree_util.DictKey("kernel")
        and jax.tree_util.DictKey("decoder") not in path
        and (
            (leaf.ndim == 4 and leaf.shape[2] == image_shape[-1])
            or (leaf.ndim == 2 and leaf.shape[0] == pixels)
        )
    ]
    return kernels[0] if kernels else None


@functools.singledispatch
def pictures(loss: Loss, finished: Pictured) -> dict[str, "Figure"]:
    """The figures that a loss has beside the curves, by name; register those of a new one."""
    kernel = first_kernel(finished.params, finished.dataset.image_shape)
    if kernel is None:
        return {}
    return {"weights": plots.filters(np.asarray(kernel), finished.dataset.image_shape)}


@pictures.register(CrossEntropy)
def _classification(loss: CrossEntropy, finished: Pictured) -> dict[str, "Figure"]:
    """Predictions, the confusion matrix, and the weights as filters or templates."""
    dataset, probabilities = finished.dataset, finished.predictions
    labels = dataset.labels[dataset.test]
    shown = np.random.default_rng(0).choice(len(labels), min(_SHOWN, len(labels)), replace=False)
    figures = {
        "predictions": plots.predictions(
            dataset.images[dataset.test[shown]],
            labels[shown],
            probabilities[shown],
            dataset.classes,
        ),
        "confusion": plots.confusion(labels, probabilities.argmax(axis=1), dataset.classes),
    }
    kernel = first_kernel(finished.params, dataset.image_shape)
    if kernel is not None:
        weights = np.asarray(kernel, np.float32)
        linear = weights.ndim == 2 and weights.shape[1] == dataset.num_classes
        figures["weights"] = (
            plots.templates(weights, dataset.image_shape, dataset.classes)
            if linear
            else plots.filters(weights, dataset.image_shape)
        )
    return figures


@pictures.register(SparseReconstruction)
def _autoencoding(loss: SparseReconstruction, finished: Pictured) -> dict[str, "Figure"]:
    """Features, images beside what was made of them, the terms of the cost, activations."""
    dataset = finished.dataset
    count = min(_PAIRS, len(dataset.test))
    shown = np.random.default_rng(0).choice(len(dataset.test), count, replace=False)
    means = np.exp(np.asarray(finished.totals["log_on"], np.float64)) / finished.totals["count"]
    figures = {
        "reconstructions": plots.image_rows(
            {
                "images": dataset.images[dataset.test[shown]],
                "reconstructions": finished.predictions[shown],
            }
        ),
        "cost_terms": plots.cost_terms(finished.metrics),
        "activations": plots.activations(means, loss.sparsity),
    }
    kernel = first_kernel(finished.params, dataset.image_shape)
    if kernel is not None:
        figures["features"] = plots.features(np.asarray(kernel), dataset.image_shape)
    return figures


def write_figures(directory: Path, loss: Loss, finished: Pictured) -> list[Path]:
    """Draws the curves and what the loss has beside them.

    Args:
        directory: figures/ of a workdir.
        loss: decides what there is to see.
        finished: what is drawn.

    Returns:
        The files written.

    Raises:
        OSError: the place cannot be written.
    """
    figures = {"curves": plots.curves(finished.metrics, finished.best_epoch)}
    figures |= pictures(loss, finished)
    paths = []
    for name, figure in figures.items():
        path = directory / f"{name}.png"
        plots.save(figure, path)
        paths.append(path)
    return paths
