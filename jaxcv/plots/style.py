"""How every figure looks, and how it becomes a file.

Nothing here touches pyplot or its global state. Colours are Okabe and Ito's, which people with any
kind of colour vision tell apart.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxcv.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 150
WIDTH = 1350  # pixels: nine inches, the width of the report
BLUE, ORANGE, VERMILION = "#0072b2", "#e69f00", "#d55e00"
INK, SOFT, FAINT = "#222222", "#6b6b6b", "#e8e8e8"
_STYLE = {
    "axes.edgecolor": SOFT,
    "axes.grid": True,
    "axes.labelcolor": SOFT,
    "axes.labelsize": 9,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "figure.dpi": DPI,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same letters everywhere
    "font.size": 9,
    "grid.color": FAINT,
    "grid.linewidth": 0.8,
    "image.cmap": "gray",
    "image.interpolation": "nearest",
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "text.color": INK,
    "xtick.color": SOFT,
    "xtick.labelsize": 8.5,
    "ytick.color": SOFT,
    "ytick.labelsize": 8.5,
}


@contextmanager
def drawing_style() -> Iterator[None]:
    """Draw in this style, whatever the user's matplotlibrc says."""
    from matplotlib import style

    with style.context(["default", _STYLE]):
        yield


def new_figure(width: float, height: float, layout: Any = None) -> "Figure":
    """Return an empty figure, its sides in inches; `layout` is matplotlib's."""
    from matplotlib.figure import Figure

    hair = 1e-4  # a whole number of pixels must not come out one less
    return Figure(figsize=(width + hair, height + hair), layout=layout)


def show_image(ax: "Axes", image: np.ndarray) -> None:
    """Fill axes with an image [height, width, channels], uint8 or in [0, 1]."""
    if image.shape[-1] not in (1, 3):
        image = image.mean(axis=-1, keepdims=True)
    limit = 255 if image.dtype == np.uint8 else 1
    ax.imshow(image[..., 0] if image.shape[-1] == 1 else image, vmin=0, vmax=limit)
    ax.set_axis_off()


def shorten(text: str, length: int) -> str:
    """Cut a text to so many characters, the last of them an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "…"


def save(figure: "Figure", path: Path, dpi: int = DPI) -> None:
    """Write a figure as a PNG file in one step; equal figures give equal bytes.

    Args:
        figure: from a function of this package.
        path: the file to replace; its directory is made when absent.
        dpi: pixels an inch; the figures are nine inches wide or less.

    Raises:
        OSError: the place cannot be written.
    """
    buffer = io.BytesIO()
    with drawing_style():
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    write_bytes(path, buffer.getvalue())
