"""Images from an HDF5 file of the user's."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Real

from jaxcv.errors import UserError
from jaxcv.extras import require

_PREFERRED = "data"
_SHAPES = "(N, 3, H, W) or (N, H, W, 3)"


def read_images(path: Path, key: str | None = None) -> Real[np.ndarray, "n height width 3"]:
    """Read colour images.

    Args:
        path: An HDF5 file.
        key: Name of the data set in it; None for the only one that fits, or among several the one
            that is named "data".

    Returns:
        The images, channels last, in the type that the file has.

    Raises:
        UserError: h5py is not installed, there is no such file, it is no HDF5 file or a damaged
            one, no data set in it fits or more than one, or one holds NaN or infinite numbers.
    """
    h5py = require("h5py", "autoencoder")
    if not path.is_file():
        problem = "not a regular file" if path.exists() else "no such file"
        raise UserError(f"{path}: {problem}; --data-file must be an HDF5 file")
    try:
        with h5py.File(path, "r") as file:
            name = _chosen(path, _fitting(file), key, file)
            images = np.asarray(file[name])
    except (OSError, RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: cannot be read as an HDF5 file: {reason}") from None
    if not np.isfinite(images).all():
        raise UserError(f"{path}: {name} holds NaN or infinite numbers")
    return images if images.shape[3] == 3 and images.shape[1] != 3 else np.moveaxis(images, 1, -1)


def _fits(item: Any) -> bool:
    shape, dtype = getattr(item, "shape", None), getattr(item, "dtype", None)
    numbers = dtype is not None and dtype.kind in "uif"
    return bool(numbers and shape and len(shape) == 4 and 0 not in shape and 3 in shape[1::2])


def _fitting(file: Any) -> list[str]:
    """Names of all data sets that could be images."""
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if _fits(item) else None)
    return names


def _chosen(path: Path, names: list[str], key: str | None, file: Any) -> str:
    if key is not None:
        if key in names:
            return key
        problem = "has another shape or no numbers" if key in file else "is not in it"
        raise UserError(f"{path}: {key} {problem}; a data set of shape {_SHAPES} is needed")
    if not names:
        raise UserError(f"{path}: no data set has the shape {_SHAPES}")
    if len(names) > 1 and _PREFERRED not in names:
        raise UserError(
            f"{path}: more than one data set could be the images; --data-key must be one of "
            + ", ".join(sorted(names))
        )
    return names[0] if len(names) == 1 else _PREFERRED
