"""First-layer weights as pictures."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8

from jaxcv.plots.style import DPI, WIDTH, drawing_style, new_figure, shorten, show_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def templates(
    kernel: Float[np.ndarray, "pixels classes"],
    image_shape: tuple[int, int, int],
    classes: Sequence[str],
) -> "Figure":
    """Draw the weights of a linear classifier as the pictures that its classes look for.

    Each is scaled alone, zero in mid grey; bright pixels speak for the class, dark ones against it.

    Args:
        kernel: the weights, pixels in row-major order [height, width, channels].
        image_shape: height, width, channels; other than 3 channels are averaged.
        classes: their names; the first forty are drawn.

    Returns:
        A figure with a titled picture for each class.
    """
    shown = min(len(classes), 40)
    pictures = [_weight_picture(kernel[:, index].reshape(image_shape)) for index in range(shown)]
    return _titled_pictures(pictures, [shorten(name, 14) for name in classes[:shown]])


def filters(
    kernel: Float[np.ndarray, "kh kw c n"] | Float[np.ndarray, "pixels n"],
    image_shape: tuple[int, int, int] | None = None,
    most: int = 64,
) -> "Figure":
    """Draw the weights of a first layer: `filter_grid` as a figure."""
    canvas = filter_grid(kernel, image_shape, most)
    with drawing_style():
        figure = new_figure(canvas.shape[1] / DPI, canvas.shape[0] / DPI)
        ax = figure.add_axes((0, 0, 1, 1))
        ax.imshow(canvas, aspect="auto")
        ax.set_axis_off()
        return figure


def filter_grid(
    kernel: Float[np.ndarray, "kh kw c n"] | Float[np.ndarray, "pixels n"],
    image_shape: tuple[int, int, int] | None = None,
    most: int = 64,
    width: int = WIDTH,
) -> UInt8[np.ndarray, "height width 3"]:
    """The weights of a first layer as small pictures, each scaled alone, zero in mid grey.

    Args:
        kernel: of a convolution, or of a dense layer that sees the image's pixels in row-major
            order.
        image_shape: height, width, channels, for a dense layer; other than 3 are averaged.
        most: more units are cut to those whose weights have the largest norm.
        width: at most so many pixels, where a weight is not less than one of them.

    Returns:
        Pixels of a tight grid, in the order of the units.

    Raises:
        ValueError: a dense kernel without the image's shape.
    """
    kernel = np.where(np.isfinite(kernel), kernel, 0.0)
    if kernel.ndim == 2:
        if image_shape is None:
            raise ValueError("a dense kernel needs image_shape")
        kernel = kernel.reshape(*image_shape, -1)
    norms = np.linalg.norm(kernel.reshape(-1, kernel.shape[-1]), axis=0)
    chosen = np.sort(np.argsort(-norms, kind="stable")[:most])
    pictures = [_weight_picture(kernel[..., index]) for index in chosen]
    tall, wide = pictures[0].shape[:2]
    gap = 6
    widest, room = (16, width - gap) if wide <= 11 else (8, width * 4 // 5 - gap)
    columns = min(widest, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    scale = max(1, (room // widest - gap) // wide)
    shape = rows * (tall * scale + gap) + gap, columns * (wide * scale + gap) + gap, 3
    canvas = np.full(shape, 255, np.uint8)
    for index, picture in enumerate(pictures):
        top = gap + index // columns * (tall * scale + gap)
        left = gap + index % columns * (wide * scale + gap)
        pixels = np.round(picture * 255).astype(np.uint8)
        enlarged = pixels.repeat(scale, axis=0).repeat(scale, axis=1)
        canvas[top : top + tall * scale, left : left + wide * scale] = enlarged
    return canvas


def _weight_picture(weights: np.ndarray) -> np.ndarray:
    """Scale weights [height, width, channels] to RGB in [0, 1] around a mid grey."""
    weights = np.where(np.isfinite(weights), weights, 0.0)
    if weights.shape[-1] != 3:
        weights = weights.mean(axis=-1, keepdims=True).repeat(3, axis=-1)
    largest = np.abs(weights).max()
    return 0.5 + 0.5 * weights / largest if largest > 0 else np.full_like(weights, 0.5)


def _titled_pictures(pictures: Sequence[np.ndarray], titles: Sequence[str]) -> "Figure":
    columns = min(5 if len(pictures) <= 10 else 10, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    cell = 9 / (5 if len(pictures) <= 10 else 10)
    gap, title = 0.1, 0.26
    width, height = columns * cell, rows * (cell - gap + title) + gap / 2
    with drawing_style():
        figure = new_figure(width, height)
        for index, (picture, name) in enumerate(zip(pictures, titles, strict=True)):
            left = index % columns * cell + gap / 2
            top = height - index // columns * (cell - gap + title) - title
            box = (left / width, (top - cell + gap) / height)
            box = (*box, (cell - gap) / width, (cell - gap) / height)
            show_image(figure.add_axes(box), picture)
            figure.text(left / width, (top + 0.06) / height, name, fontsize=9.5)
        return figure
