"""Data sets: read once, cached, split, and handed over as NumPy arrays of bytes."""

from collections.abc import Callable
from pathlib import Path

from jaxcv.data import cifar10, digits, splits, tfds
from jaxcv.data.cache import Source, recall
from jaxcv.data.dataset import Dataset
from jaxcv.errors import UserError

__all__ = ["Dataset", "load"]

# The names --data knows; "tfds:NAME" is the one family beside them.
_SOURCES: dict[str, Callable[[Path | None], Source]] = {
    "digits": lambda data_dir: digits.source(),
    "cifar10": cifar10.source,
}


def load(
    data: str,
    data_dir: Path | str | None = None,
    data_seed: int = 0,
    validation: int | None = None,
) -> Dataset:
    """Load a data set.

    Args:
        data: "digits", "cifar10" or "tfds:NAME[/CONFIG][:VERSION]".
        data_dir: The place of the files, and then the only one that is looked at; None for
            $JAXCV_DATA_DIR, else $TFDS_DATA_DIR, else the source's own. The digits need none.
        data_seed: Which images are held out for validation.
        validation: How many; None for a tenth of the training images.

    Raises:
        UserError: The name is unknown, nothing is there, what is there is damaged or cannot be
            read, or `validation` or `data_seed` is out of range.

    Example:
        >>> digits = load("digits", validation=100)
        >>> len(digits.train), len(digits.validation), len(digits.test)
        (1337, 100, 360)
    """
    try:
        records = recall(_source(data, None if data_dir is None else Path(data_dir)))
    # No permission, a failing disk, a file that vanishes: nothing jaxcv does wrong.
    except OSError as error:
        raise UserError(
            f"cannot read {error.filename or data}: {error.strerror or error}"
        ) from error
    return splits.draw(data, records, data_seed, validation)


def _source(data: str, data_dir: Path | None) -> Source:
    if data.startswith("tfds:"):
        return tfds.source(data, data_dir)
    if data in _SOURCES:
        return _SOURCES[data](data_dir)
    raise UserError(f"unknown data {data!r}; it must be {', '.join(_SOURCES)} or tfds:NAME")
