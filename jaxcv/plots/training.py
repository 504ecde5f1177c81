"""Curves of a run: its metrics by epoch."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxcv.plots.style import BLUE, INK, ORANGE, SOFT, drawing_style, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def curves(metrics: Sequence[Mapping[str, Any]], best_epoch: int | None = None) -> "Figure":
    """Draw loss or cost and accuracy by epoch, and the learning rate when it varies.

    Args:
        metrics: the records of metrics.jsonl; what is absent, None or not finite leaves a gap.
        best_epoch: the epoch to mark, if any.

    Returns:
        A figure with a panel for each quantity that has values. A loss or cost is drawn on a
        logarithmic axis where it spans more than a factor of 50.
    """
    epochs = np.array([record["epoch"] for record in metrics], float)
    panels = [
        (title, lines)
        for title, name in (("Loss", "loss"), ("Cost", "cost"), ("Accuracy", "accuracy"))
        if (lines := _lines(metrics, name))
    ] or [("Loss", [])]
    rates = _series(metrics, "learning_rate")
    varies = np.ptp(rates[np.isfinite(rates)]) > 0 if np.isfinite(rates).any() else False
    with drawing_style():
        figure = new_figure(9.0, 3.5 + 1.4 * varies, layout="constrained")
        upper: Any = figure
        lower: Any = None
        if varies:
            panes: Any = figure.subfigures(2, 1, height_ratios=(3.5, 1.4))
            upper, lower = panes
        axes = np.atleast_1d(upper.subplots(1, len(panels)))
        for ax, (title, lines) in zip(axes, panels, strict=True):
            ax.set_title(title)
            for label, values, colour in lines:
                _line(ax, epochs, values, colour, label)
            if best_epoch is not None:
                ax.axvline(best_epoch, color=SOFT, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
            everything = np.concatenate([values for _, values, _ in lines] or [np.zeros(0)])
            everything = everything[np.isfinite(everything) & (everything > 0)]
            wide = everything.size and np.ptp(np.log(everything)) > math.log(50)
            if title != "Accuracy" and wide:
                ax.set_yscale("log")
            _epoch_axis(ax, epochs)
        _curves_legend(axes[0], best_epoch)
        if lower is not None:
            ax = lower.subplots()
            ax.set_title("Learning rate")
            _line(ax, epochs, rates, INK, "learning rate")
            steps = np.unique(rates[rates > 0])
            if len(steps) <= 10 and steps[-1] > 50 * steps[0]:
                ax.set_yscale("log")  # a few steps of a factor ten; a cosine reads better linear
            else:
                ax.set_ylim(bottom=0)
            _epoch_axis(ax, epochs)
        return figure


def _series(metrics: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    values = [record.get(name) for record in metrics]
    series = np.array([np.nan if value is None else value for value in values], float)
    return np.where(np.isfinite(series), series, np.nan)


def _lines(metrics: Sequence[Mapping[str, Any]], name: str) -> list[tuple[str, np.ndarray, str]]:
    lines = []
    for label, prefix, colour in (("train", "train_", BLUE), ("validation", "val_", ORANGE)):
        values = _series(metrics, prefix + name)
        if np.isfinite(values).any():
            lines.append((label, values, colour))
    return lines


def _line(ax: "Axes", epochs: np.ndarray, values: np.ndarray, colour: str, label: str) -> None:
    few = np.isfinite(values).sum() <= 30
    ax.plot(epochs, values, color=colour, label=label, marker="o" if few else "", markersize=3.5)


def _epoch_axis(ax: "Axes", epochs: np.ndarray) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.set_xlabel("epoch")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    if len(epochs):
        margin = max(0.5, 0.02 * np.ptp(epochs))
        ax.set_xlim(epochs.min() - margin, epochs.max() + margin)


def _curves_legend(ax: "Axes", best_epoch: int | None) -> None:
    from matplotlib.lines import Line2D

    handles, names = ax.get_legend_handles_labels()
    if best_epoch is not None:
        handles.append(Line2D([], [], color=SOFT, linewidth=0.9, linestyle=(0, (4, 3))))
        names.append(f"best epoch ({best_epoch})")
    if handles:
        ax.figure.legend(handles, names, loc="outside upper right", ncols=len(handles))
