"""Figures of a run: values in, a matplotlib `Figure` out, and `save` makes a file of it."""

from jaxcv.plots.autoencoding import (
    activations,
    cost_terms,
    costs_against,
    features,
    image_rows,
    patch_grids,
    titled_images,
)
from jaxcv.plots.comparison import against, compared
from jaxcv.plots.maps import side_by_side
from jaxcv.plots.outcomes import confusion, predictions
from jaxcv.plots.panels import panels
from jaxcv.plots.style import WIDTH, save
from jaxcv.plots.sweeps import learning_curves, scores_against
from jaxcv.plots.training import curves
from jaxcv.plots.weights import filter_grid, filters, templates

__all__ = [
    "WIDTH",
    "activations",
    "against",
    "compared",
    "confusion",
    "cost_terms",
    "costs_against",
    "curves",
    "features",
    "filter_grid",
    "filters",
    "image_rows",
    "learning_curves",
    "panels",
    "patch_grids",
    "predictions",
    "save",
    "scores_against",
    "side_by_side",
    "templates",
    "titled_images",
]
