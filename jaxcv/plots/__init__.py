"""Figures of a run: values in, a matplotlib `Figure` out, and `save` makes a file of it."""

from jaxcv.plots.comparison import against, compared
from jaxcv.plots.maps import side_by_side
from jaxcv.plots.outcomes import confusion, predictions
from jaxcv.plots.panels import panels
from jaxcv.plots.style import save
from jaxcv.plots.training import curves
from jaxcv.plots.weights import filter_grid, filters, templates

__all__ = [
    "against",
    "compared",
    "confusion",
    "curves",
    "filter_grid",
    "filters",
    "panels",
    "predictions",
    "save",
    "side_by_side",
    "templates",
]
