"""What a trained model makes of the test images."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from jaxcv.plots.style import (
    BLUE,
    FAINT,
    INK,
    SOFT,
    VERMILION,
    drawing_style,
    new_figure,
    shorten,
    show_image,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def predictions(
    images: UInt8[np.ndarray, "n height width channels"],
    labels: Int[np.ndarray, "n"],
    probabilities: Float[np.ndarray, "n classes"],
    classes: Sequence[str],
) -> "Figure":
    """Draw images beside the three classes that the model holds most likely.

    Args:
        images: as they are in the data set.
        labels: the true classes.
        probabilities: the model's, each row summing to one.
        classes: their names.

    Returns:
        A figure, three images a row, the true class above each. Its bar is blue, and has a tick
        when it is the model's first choice; another first choice is vermilion with a cross.
    """
    columns, rows = 3, math.ceil(len(images) / 3)
    cell_width, cell_height, image_size, margin = 3.0, 1.32, 1.0, 0.08
    width, height = columns * cell_width, rows * cell_height
    with drawing_style():
        figure = new_figure(width, height)
        for index, image in enumerate(images):
            left = index % columns * cell_width + margin
            bottom = height - (index // columns + 1) * cell_height + margin
            box = (left / width, bottom / height, image_size / width, image_size / height)
            show_image(figure.add_axes(box), image)
            box = (
                (left + image_size + 0.14) / width,
                bottom / height,
                (cell_width - image_size - 0.42) / width,
                image_size / height,
            )
            label = int(labels[index])
            x, y = left / width, (bottom + image_size + 0.05) / height
            figure.text(x, y, shorten(classes[label], 30), fontsize=9.5, fontweight="bold")
            _bars(figure.add_axes(box), probabilities[index], label, classes)
        return figure


def confusion(
    labels: Int[np.ndarray, "n"], predictions: Int[np.ndarray, "n"], classes: Sequence[str]
) -> "Figure":
    """Draw how often each class is taken for each other.

    Args:
        labels: the true classes.
        predictions: the model's.
        classes: their names.

    Returns:
        A figure with a row for each true class, coloured by its share of the row; up to 20 classes
        the counts stand in it.
    """
    n = len(classes)
    counts = np.zeros((n, n), int)
    np.add.at(counts, (np.asarray(labels), np.asarray(predictions)), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    with drawing_style():
        figure = new_figure(7.2, 6.2, layout="constrained")
        ax = figure.subplots()
        mesh = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        ax.grid(False)
        ax.spines[:].set_visible(False)
        ax.set(xlabel="predicted", ylabel="true")
        names = [shorten(name, 14) for name in classes]
        if n <= 20:
            lean = max(map(len, names)) > 3
            ax.set_xticks(
                range(n), names, rotation=40 if lean else 0, ha="right" if lean else "center"
            )
            ax.set_yticks(range(n), names)
            for row, column in zip(*np.nonzero(counts), strict=True):
                dark = shares[row, column] > 0.55
                ax.text(
                    column,
                    row,
                    f"{counts[row, column]:,}",
                    ha="center",
                    va="center",
                    fontsize=8.5 if n <= 12 else 6.5,
                    color="white" if dark else INK,
                )
        ax.tick_params(length=0)
        bar = figure.colorbar(mesh, ax=ax, shrink=0.6, aspect=28, pad=0.02)
        bar.set_label("share of the true class")
        bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
        return figure


def _bars(ax: "Axes", probabilities: np.ndarray, label: int, classes: Sequence[str]) -> None:
    """Draw the three largest probabilities as thin bars under their names."""
    ax.set_axis_off()
    ax.set(xlim=(0, 1), ylim=(3, 0))
    for place, index in enumerate(np.argsort(-probabilities, kind="stable")[:3]):
        share = float(np.nan_to_num(probabilities[index]))
        colour = BLUE if index == label else VERMILION if place == 0 else "#9a9a9a"
        mark = "" if place else "✓ " if index == label else "✗ "
        y = place + 0.72
        ax.barh(y, 1, height=0.2, color=FAINT)
        ax.barh(y, share, height=0.2, color=colour)
        shade: Any = {"color": SOFT if place else colour, "fontsize": 8, "va": "bottom"}
        ax.text(0, y - 0.16, mark + shorten(classes[int(index)], 16), **shade)
        ax.text(1, y - 0.16, f"{share:.0%}", ha="right", **shade)
