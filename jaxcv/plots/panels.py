"""Arrays as pictures side by side, with a title each."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Real

from jaxcv.plots.style import drawing_style, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def panels(
    pictures: Mapping[str, Real[np.ndarray, "height width *channels"]],
    columns: int,
    signed: bool = False,
) -> "Figure":
    """Draw pictures in rows, each under its title.

    Args:
        pictures: title to image. With three channels a colour image, uint8 or in [0, 1]; with
            none a grey one, or with `signed` one in colours about zero.
        columns: pictures a row.
        signed: blue below zero, white at zero, red above, the same scale to either side.

    Returns:
        A figure nine inches wide.
    """
    rows = -(-len(pictures) // columns)
    width = 9.0 / columns
    shapes = [np.asarray(p).shape for p in pictures.values()]
    tallest = max(height / breadth for height, breadth, *_ in shapes)
    with drawing_style():
        figure = new_figure(9.0, rows * (width * min(tallest, 1.6) + 0.35), layout="constrained")
        axes = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel()
        for ax in axes:
            ax.set_axis_off()
        for ax, (title, picture) in zip(axes, pictures.items(), strict=False):
            ax.set_title(title, fontsize=9)
            if signed and picture.ndim == 2:
                limit = float(np.abs(picture).max()) or 1.0
                ax.imshow(picture, cmap="RdBu_r", vmin=-limit, vmax=limit)
            else:
                ax.imshow(picture)
        return figure
