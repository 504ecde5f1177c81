"""The batches of CIFAR-10's two official archives, from bytes to arrays."""

import dataclasses
import statistics
from collections.abc import Mapping

import numpy as np

from jaxcv.data import restricted_pickle
from jaxcv.errors import UserError

CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
IMAGE_SHAPE = (32, 32, 3)

_PIXELS = 3 * 32 * 32
_RECORD = 1 + _PIXELS
_OFFICIAL_RECORDS = 10_000


@dataclasses.dataclass(frozen=True)
class Layout:
    """One of the two forms in which CIFAR-10 is published.

    Attributes:
        archive: The archive's name.
        size: The official archive's size in bytes.
        sha256: The official archive's SHA-256.
        folder: The directory inside it.
        train: The files with training images, in that directory.
        test: The file with test images.
        pickled: Whether the files are pickles, or records of a label and 3,072 pixels.
    """

    archive: str
    size: int
    sha256: str
    folder: str
    train: tuple[str, ...]
    test: str
    pickled: bool

    @property
    def files(self) -> tuple[str, ...]:
        """All six files."""
        return (*self.train, self.test)


# https://www.cs.toronto.edu/~kriz/cifar.html
BINARY = Layout(
    archive="cifar-10-binary.tar.gz",
    size=170_052_171,
    sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    folder="cifar-10-batches-bin",
    train=tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    test="test_batch.bin",
    pickled=False,
)
PYTHON = Layout(
    archive="cifar-10-python.tar.gz",
    size=170_498_071,
    sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    folder="cifar-10-batches-py",
    train=tuple(f"data_batch_{number}" for number in range(1, 6)),
    test="test_batch",
    pickled=True,
)
LAYOUTS = (BINARY, PYTHON)


def decode(
    layout: Layout, files: Mapping[str, bytes | memoryview], where: str
) -> tuple[np.ndarray, np.ndarray, int]:
    """Decode the six files of a layout.

    How many records a file holds follows from its size, so that archives with fewer images than
    the official ones are read as well; but the five training files must be equally long.

    Args:
        layout: Which form the files have.
        files: The bytes of each of `layout.files`.
        where: What the messages call the place of the files.

    Returns:
        Images, uint8, (n, 32, 32, 3); labels, int32, (n,); and how many of them are for training:
        those come first, in the files' order.

    Raises:
        UserError: A file is cut, damaged or of another form, or a label is not 0 … 9.
    """
    if layout.pickled:
        batches = [_unpickle(files[name], f"{where}: {name}") for name in layout.files]
        _check_equal_counts(layout, [len(labels) for _, labels in batches], where)
    else:
        _check_sizes(layout, {name: len(files[name]) for name in layout.files}, where)
        batches = [_split_records(files[name]) for name in layout.files]
    for name, (_, labels) in zip(layout.files, batches, strict=True):
        wrong = np.flatnonzero((labels < 0) | (labels >= len(CLASSES)))
        if wrong.size:
            raise UserError(
                f"{where}: {name} has the label {labels[wrong[0]]} in record {wrong[0]}, which is "
                f"out of range; the {len(CLASSES)} classes are 0 to {len(CLASSES) - 1}"
            )
    # Channel-major in both forms: (n, RGB, rows, columns).
    images = [pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1) for pixels, _ in batches]
    labels = np.concatenate([labels for _, labels in batches]).astype(np.int32)
    pool = len(labels) - len(images[-1])
    return np.ascontiguousarray(np.concatenate(images)), labels, pool


def _check_sizes(layout: Layout, sizes: Mapping[str, int], where: str) -> None:
    """Raise UserError unless the binary files hold whole records, and those for training as many.

    The size most of the training files have is taken for the right one.
    """
    usual = statistics.multimode(sizes[name] for name in layout.train)
    whole = [size for size in usual if size and size % _RECORD == 0]
    right = max(whole, default=max(usual))
    for name in layout.files:
        size = sizes[name]
        # Beside official training files only the official test file is whole.
        official = right == _OFFICIAL_RECORDS * _RECORD
        expected = right if name in layout.train or official else size
        if size == expected and size and size % _RECORD == 0:
            continue
        if expected % _RECORD or not expected:
            expected = max(1, -(-size // _RECORD)) * _RECORD
        kind = "truncated" if size < expected else "too long"
        raise UserError(
            f"{where}: {name} is {kind}: {expected:,} bytes expected (whole records of "
            f"{_RECORD:,}, as many in every data_batch file), {size:,} found"
        )


def _check_equal_counts(layout: Layout, counts: list[int], where: str) -> None:
    right = max(statistics.multimode(counts[:-1]))
    for name, count in zip(layout.files, counts, strict=True):
        # As above: beside official training files only the official test file is whole.
        compared = name in layout.train or right == _OFFICIAL_RECORDS
        if not count or (compared and count != right):
            raise UserError(
                f"{where}: {name} is not whole: {max(right, 1):,} records expected, as many in "
                f"every data_batch file, {count:,} found"
            )


def _split_records(data: bytes | memoryview) -> tuple[np.ndarray, np.ndarray]:
    records = np.frombuffer(data, np.uint8).reshape(-1, _RECORD)
    return records[:, 1:], records[:, 0].astype(np.int64)


def _unpickle(data: bytes | memoryview, name: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        entries = restricted_pickle.loads(bytes(data), ("data", "labels"))
    except restricted_pickle.RefusedPickleError as error:
        raise UserError(f"{name} is no whole pickle of a CIFAR-10 batch: {error}") from error
    pixels, labels = entries["data"], entries["labels"]
    if (
        not isinstance(pixels, np.ndarray)
        or pixels.dtype != np.uint8
        or pixels.ndim != 2
        or pixels.shape[1] != _PIXELS
    ):
        raise UserError(f"{name}: `data` must be a uint8 array of shape (n, {_PIXELS:,})")
    if isinstance(labels, list) and all(type(label) is int for label in labels):
        # Through Python's integers, so that an absurdly large one is out of range, not an error.
        labels = np.array([label if 0 <= label < 256 else -1 for label in labels], np.int64)
    if (
        not isinstance(labels, np.ndarray)
        or labels.dtype.kind not in "iu"
        or labels.shape != pixels.shape[:1]
    ):
        raise UserError(f"{name}: `labels` must be {len(pixels):,} integers, one for each image")
    return pixels, labels.astype(np.int64)
