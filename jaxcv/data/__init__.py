"""Data sets: read once, cached, split, and handed over as NumPy arrays."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Real

from jaxcv.data import cifar10, digits, patches, splits, tfds
from jaxcv.data.cache import Source, recall
from jaxcv.data.dataset import Dataset
from jaxcv.errors import UserError

__all__ = ["Dataset", "load", "raw_patches"]

# The names --data knows; "tfds:NAME" and "patches:NAME" are the families beside them.
_SOURCES: dict[str, Callable[[Path | None], Source]] = {
    "digits": lambda data_dir: digits.source(),
    "cifar10": cifar10.source,
}


def load(
    data: str,
    data_dir: Path | str | None = None,
    data_seed: int = 0,
    validation: int | None = None,
    data_file: str | None = None,
    data_key: str | None = None,
) -> Dataset:
    """Load a data set.

    Args:
        data: "digits", "cifar10" or "tfds:NAME[/CONFIG][:VERSION]"; "patches" of photographs, or
            "patches:NAME" of the training images of NAME.
        data_dir: The place of the files, and then the only one that is looked at; None for
            $JAXCV_DATA_DIR, else $TFDS_DATA_DIR, else the source's own. The digits and the
            photographs need none.
        data_seed: Which images are held out for validation, and which patches are drawn.
        validation: How many; None for a tenth of the training images, for none of patches.
        data_file: An HDF5 file that holds the patches.
        data_key: The name of the data set in it, where more than one could be meant.

    Raises:
        UserError: The name is unknown, nothing is there, what is there is damaged or cannot be
            read, or `validation` or `data_seed` is out of range.

    Example:
        >>> digits = load("digits", validation=100)
        >>> len(digits.train), len(digits.validation), len(digits.test)
        (1337, 100, 360)
    """
    if data_file is not None and data != "patches":
        raise UserError(f"--data-file holds patches: --data must be patches, not {data}")
    if data_key is not None and data_file is None:
        raise UserError("--data-key names a data set in a file: --data-file must name the file")
    try:
        if data.split(":")[0] == "patches":
            pictures = _pictures(data, data_dir)
            records = recall(patches.source(data_seed, data_file, data_key, pictures))
        else:
            records = recall(_source(data, None if data_dir is None else Path(data_dir)))
    # No permission, a failing disk, a file that vanishes: nothing jaxcv does wrong.
    except OSError as error:
        raise UserError(
            f"cannot read {error.filename or data}: {error.strerror or error}"
        ) from error
    return splits.draw(data, records, data_seed, validation)


def raw_patches(
    data: str,
    data_dir: Path | str | None = None,
    data_seed: int = 0,
    data_file: str | None = None,
    data_key: str | None = None,
) -> Real[np.ndarray, "n height width channels"]:
    """The patches that `load` would preprocess, in the same order, as they are; arguments alike."""
    return patches.raw(data_seed, data_file, data_key, _pictures(data, data_dir))


def _pictures(data: str, data_dir: Path | str | None) -> Source | None:
    """What "patches:NAME" draws from; None for "patches", the photographs."""
    _, colon, of = data.partition(":")
    return _source(of, None if data_dir is None else Path(data_dir)) if colon else None


def _source(data: str, data_dir: Path | None) -> Source:
    if data.startswith("tfds:"):
        return tfds.source(data, data_dir)
    if data in _SOURCES:
        return _SOURCES[data](data_dir)
    names = ", ".join(_SOURCES)
    raise UserError(
        f"unknown data {data!r}; it must be {names}, tfds:NAME, patches or patches:NAME"
    )
