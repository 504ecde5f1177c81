"""Activation maps and other stacks of grey pictures, in rows that compare."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8

from jaxcv.plots.style import drawing_style, new_figure, show_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def side_by_side(
    image: UInt8[np.ndarray, "height width channels"],
    rows: Mapping[str, Float[np.ndarray, "maps height width"]],
) -> "Figure":
    """Draw an image, and below it rows of maps with a title each.

    Args:
        image: what the maps were computed from.
        rows: title to maps; each map is scaled alone, its least value black, its greatest white.

    Returns:
        A figure as wide as the longest row.
    """
    cell, gap, title = 1.0, 0.06, 0.28
    columns = max(len(maps) for maps in rows.values())
    width = columns * cell + gap
    height = (len(rows) + 1) * (cell + title)
    with drawing_style():
        figure = new_figure(width, height)
        pictures = {"image": [image], **{name: list(maps) for name, maps in rows.items()}}
        for row, (name, maps) in enumerate(pictures.items()):
            top = height - row * (cell + title)
            figure.text(gap / width, (top - title + 0.07) / height, name, fontsize=9.5)
            for column, values in enumerate(maps):
                box = (
                    (column * cell + gap) / width,
                    (top - title - cell + gap) / height,
                    (cell - gap) / width,
                    (cell - gap) / height,
                )
                picture = values if values.ndim == 3 else _scaled(values)[..., None]
                show_image(figure.add_axes(box), picture)
        return figure


def _scaled(values: np.ndarray) -> np.ndarray:
    span = np.ptp(values)
    return (values - values.min()) / span if span > 0 else np.zeros_like(values)
