"""Several runs in one picture."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from jaxcv.plots.style import BLUE, INK, ORANGE, VERMILION, drawing_style, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's, but for the yellow, which is too light for lines.
COLOURS = (BLUE, VERMILION, "#009e73", ORANGE, "#cc79a7", "#56b4e9", INK)
_LINES = ("-", "--", ":")


def compared(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> "Figure":
    """Draw training loss and validation accuracy of several runs by epoch.

    Args:
        runs: name to the records of its metrics.jsonl; what is None leaves a gap.

    Returns:
        A figure of two panels with one legend; the loss on a logarithmic axis. Where no images are
        held out, the second panel is the accuracy on the training images.
    """
    held_out = any(line["val_accuracy"] is not None for lines in runs.values() for line in lines)
    accuracy = ("Validation", "val") if held_out else ("Training", "train")
    panels = (
        ("Training loss", "train_loss"),
        (f"{accuracy[0]} accuracy", f"{accuracy[1]}_accuracy"),
    )
    with drawing_style():
        figure = new_figure(9.0, 3.8, layout="constrained")
        axes = figure.subplots(1, len(panels))
        for ax, (title, field) in zip(axes, panels, strict=True):
            ax.set_title(title)
            for place, (name, records) in enumerate(runs.items()):
                epochs = [record["epoch"] for record in records]
                values = [np.nan if r[field] is None else r[field] for r in records]
                _line(ax, np.asarray(epochs), np.asarray(values, float), name, place)
            whole_numbers(ax)
            ax.set_xlabel("epoch")
        axes[0].set_yscale("log")
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside right upper")
        return figure


def against(
    x: Float[np.ndarray, " n"],
    lines: Mapping[str, Float[np.ndarray, " n"]],
    xlabel: str,
    ylabel: str,
    logarithmic: bool = False,
) -> "Figure":
    """Draw several quantities against one.

    Args:
        x: where the values were measured.
        lines: name to values; what is not finite leaves a gap.
        xlabel: what x is.
        ylabel: what the values are.
        logarithmic: whether x is drawn on a logarithmic axis.

    Returns:
        A figure of one panel.
    """
    with drawing_style():
        figure = new_figure(6.4, 3.8, layout="constrained")
        ax = figure.subplots()
        for place, (name, values) in enumerate(lines.items()):
            _line(ax, np.asarray(x), np.asarray(values), name, place)
        if logarithmic:
            ax.set_xscale("log")
        else:
            whole_numbers(ax)
        ax.set(xlabel=xlabel, ylabel=ylabel)
        figure.legend(loc="outside right upper")
        return figure


def _line(ax: "Axes", x: np.ndarray, y: np.ndarray, name: str, place: int) -> None:
    ax.plot(
        x,
        y,
        label=name,
        color=COLOURS[place % len(COLOURS)],
        linestyle=_LINES[place // len(COLOURS) % len(_LINES)],
        # Of equal lines the later is thinner: both are seen.
        linewidth=max(3.0 - 0.3 * place, 1.2),
        marker="o" if len(x) <= 30 else "",
        markersize=max(6.0 - 0.6 * place, 2.5),
    )


def whole_numbers(ax: "Axes") -> None:
    """Ticks at whole numbers alone, as of epochs."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
