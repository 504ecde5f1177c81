"""What an autoencoder has learnt: its features, what it makes of images, and its cost by term."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Real

from jaxcv.plots.style import (
    BLUE,
    ORANGE,
    SOFT,
    VERMILION,
    drawing_style,
    new_figure,
    show_image,
)
from jaxcv.plots.weights import filters

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TERMS = {
    "cost": "Cost",
    "reconstruction": "Reconstruction",
    "decay": "Weight decay",
    "sparsity": "Sparsity",
}


def features(
    kernel: Float[np.ndarray, "pixels hidden"], image_shape: tuple[int, int, int]
) -> "Figure":
    """Draw what each hidden unit looks for: its weights as a picture.

    Args:
        kernel: the encoder's, pixels in row-major order [height, width, channels].
        image_shape: height, width, channels.

    Returns:
        A grid of all units, each scaled alone, zero in mid grey, the largest norm of the weights
        first.
    """
    order = np.argsort(-np.linalg.norm(kernel, axis=0), kind="stable")
    return filters(kernel[:, order], image_shape, most=kernel.shape[1])


def image_rows(rows: Mapping[str, Real[np.ndarray, "n height width channels"]]) -> "Figure":
    """Draw rows of images that belong together column by column, with a title over each row.

    Args:
        rows: title to images, uint8 or in [0, 1].
    """
    columns = max(len(images) for images in rows.values())
    cell, gap, title = 9.0 / max(columns, 6), 0.05, 0.26
    height = len(rows) * (cell + title)
    width = max(columns * cell, 4.0)
    with drawing_style():
        figure = new_figure(width, height)
        for row, (name, images) in enumerate(rows.items()):
            top = height - row * (cell + title)
            figure.text(gap / width, (top - title + 0.06) / height, name, fontsize=9.5)
            for column, image in enumerate(images):
                box = (column * cell + gap, top - title - cell + gap, cell - gap, cell - gap)
                scale = (width, height, width, height)
                left, bottom, wide, high = (b / s for b, s in zip(box, scale, strict=True))
                show_image(figure.add_axes((left, bottom, wide, high)), image)
        return figure


def titled_images(images: Mapping[str, Real[np.ndarray, "1 height width channels"]]) -> "Figure":
    """Draw images side by side, a title over each.

    Args:
        images: title to a single image, uint8 or in [0, 1].
    """
    with drawing_style():
        figure = new_figure(2.0 * len(images), 2.3, layout="constrained")
        axes = np.atleast_1d(figure.subplots(1, len(images)))
        for ax, (name, image) in zip(axes, images.items(), strict=True):
            show_image(ax, image[0])
            ax.set_title(name)
        return figure


def patch_grids(
    grids: Mapping[str, Real[np.ndarray, "n height width channels"]], columns: int = 20
) -> "Figure":
    """Draw grids of small images side by side, a title over each.

    Args:
        grids: title to images, uint8 or in [0, 1]; the same number in each.
        columns: images in a row of a grid.
    """
    with drawing_style():
        count = len(next(iter(grids.values())))
        rows = -(-count // columns)
        width = 9.0 / len(grids)
        figure = new_figure(9.0, width * rows / columns + 0.3, layout="constrained")
        axes = np.atleast_1d(figure.subplots(1, len(grids)))
        for ax, (name, images) in zip(axes, grids.items(), strict=True):
            show_image(ax, _tiled(images, columns))
            ax.set_title(name)
        return figure


def _tiled(images: np.ndarray, columns: int) -> np.ndarray:
    n, height, width, channels = images.shape
    rows = -(-n // columns)
    white = 255 if images.dtype == np.uint8 else 1
    canvas = np.full((rows * (height + 1), columns * (width + 1), channels), white, images.dtype)
    for i, image in enumerate(images):
        top, left = i // columns * (height + 1), i % columns * (width + 1)
        canvas[top : top + height, left : left + width] = image
    return canvas


def cost_terms(metrics: Sequence[Mapping[str, Any]]) -> "Figure":
    """Draw the cost and each of its terms by epoch, a panel each: they differ in size.

    Args:
        metrics: the records of metrics.jsonl.
    """
    epochs = [record["epoch"] for record in metrics]
    with drawing_style():
        figure = new_figure(9.0, 5.2, layout="constrained")
        axes: Any = figure.subplots(2, 2).ravel()
        for ax, (name, title) in zip(axes, _TERMS.items(), strict=True):
            ax.set_title(title)
            ax.set_xlabel("epoch")
            for prefix, colour in (("train_", BLUE), ("val_", ORANGE)):
                values = [record.get(prefix + name) for record in metrics]
                if any(value is not None for value in values):
                    known = np.array([np.nan if v is None else v for v in values], float)
                    label = "train" if prefix == "train_" else "validation"
                    ax.plot(epochs, known, color=colour, label=label)
            if ax.lines:
                positive = [line.get_ydata().astype(float) for line in ax.lines]
                least = min(np.nanmin(values) for values in positive)
                if least > 0 and max(np.nanmax(v) for v in positive) > 3 * least:
                    ax.set_yscale("log")
        if any(len(ax.lines) > 1 for ax in axes):
            axes[0].legend()
        return figure


def activations(means: Float[np.ndarray, " hidden"], wanted: float) -> "Figure":
    """Draw the mean activation of each hidden unit, largest first, against the wanted sparsity.

    Args:
        means: over the examples.
        wanted: ρ.
    """
    ordered = np.sort(means)[::-1]
    with drawing_style():
        figure = new_figure(9.0, 2.8, layout="constrained")
        ax = figure.subplots()
        ax.set_title("Mean activation of the hidden units")
        ax.set_axisbelow(True)
        ax.bar(np.arange(1, len(ordered) + 1), ordered, color=BLUE, width=0.8)
        ax.axhline(wanted, color=VERMILION, linewidth=1.2, label=f"ρ = {wanted:g}")
        mean = ordered.mean()
        ax.axhline(mean, color=SOFT, linewidth=1.2, linestyle=(0, (4, 3)), label=f"mean {mean:.3g}")
        ax.set_xlabel("unit, the most active first")
        ax.margins(x=0.01)
        ax.legend()
        return figure


def costs_against(
    runs: Mapping[str, tuple[Sequence[float], Sequence[float], Sequence[float]]],
) -> "Figure":
    """Draw the cost of several solvers against time and against evaluations of the cost.

    Args:
        runs: name to seconds, evaluations and costs, one of each an epoch.
    """
    with drawing_style():
        figure = new_figure(9.0, 4.2, layout="constrained")
        axes: Any = figure.subplots(1, 2, sharey=True)
        labels = ("seconds of training", "evaluations of cost and gradient on all patches")
        for which, (ax, label) in enumerate(zip(axes, labels, strict=True)):
            for name, columns in runs.items():
                ax.plot(columns[which], columns[2], label=name, linewidth=1.4)
            ax.set(xscale="log", yscale="log", xlabel=label)
        axes[0].set_ylabel("cost")
        axes[0].set_title("Against time")
        axes[1].set_title("Against evaluations")
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=min(len(names), 6))
        return figure
