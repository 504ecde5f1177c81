"""CIFAR-10, from whichever of its forms is at hand."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from jaxcv.data import tfds
from jaxcv.data.cache import Source
from jaxcv.data.cifar10_archives import download, read_archive, read_folder
from jaxcv.data.cifar10_batches import CLASSES, IMAGE_SHAPE, LAYOUTS, Layout, decode
from jaxcv.data.dataset import Records
from jaxcv.data.places import named_place
from jaxcv.data.prepared import find_prepared
from jaxcv.errors import UserError

_EXPECTED = (
    "a directory that holds cifar10/VERSION as tensorflow-datasets prepares it, "
    + ", ".join(f"{layout.archive} or its folder {layout.folder}" for layout in LAYOUTS)
    + ", or one of these archives or folders itself"
)


def source(data_dir: Path | None) -> Source:
    """Find CIFAR-10.

    A place may hold a directory prepared by tensorflow-datasets, an official archive (binary or
    Python's) or its extracted folder, or be one of the last two itself. With no place named, the
    user's cache directory is one, to which the official archive is downloaded if need be.

    Args:
        data_dir: The only place to look at; None for the one the environment names.

    Raises:
        UserError: The named place is missing, empty or holds nothing of the above; or the
            download failed.
    """
    place = named_place(data_dir)
    if place is None:
        import platformdirs

        directory = Path(platformdirs.user_cache_dir("jaxcv"))
        return _find(directory) or _archive(download(directory))
    place.require(_EXPECTED)
    found = _find(place.path)
    if found is None:
        raise UserError(f"there is no CIFAR-10 in {place}; it must be {_EXPECTED}")
    return found


def canonical(records: Records) -> Records:
    """Put CIFAR-10's records in the one order they have here, whatever the source's order.

    The training pool and the test images are each sorted by the SHA-256 of an image's 3,072 bytes
    (rows, columns, RGB) and its label as one byte more: an order that has nothing to do with what
    the images show. The same data seed then holds out the same images, and the same seed trains
    the same network, from every source. Two equal records are interchangeable.

    Args:
        records: CIFAR-10, or some of its images, in any order.
    """
    digests = [
        hashlib.sha256(image.tobytes() + bytes([label])).digest()
        for image, label in zip(records.images, records.labels, strict=True)
    ]
    pool = sorted(range(records.pool), key=digests.__getitem__)
    test = sorted(range(records.pool, len(digests)), key=digests.__getitem__)
    order = np.array(pool + test)
    return Records(records.images[order], records.labels[order], records.pool, CLASSES)


def _find(place: Path) -> Source | None:
    """Find CIFAR-10 in or at a place, in any of its forms."""
    if place.is_file():
        return _archive(place)
    if prepared := find_prepared(place, "cifar10"):
        files = tuple(sorted(path for path in prepared.iterdir() if path.is_file()))
        return _source(prepared, files, lambda: _read_prepared(prepared))
    for layout in LAYOUTS:
        for folder in (place / layout.folder, place):
            if any((folder / name).exists() for name in layout.files):
                return _folder(folder, layout)
        if (place / layout.archive).is_file():
            return _archive(place / layout.archive)
    return None


def _source(path: Path, files: tuple[Path, ...], read: Callable[[], Records]) -> Source:
    return Source(name=f"cifar10 {path}", files=files, read=lambda: canonical(read()))


def _archive(path: Path) -> Source:
    def read() -> Records:
        layout, files = read_archive(path)
        return Records(*decode(layout, files, str(path)), CLASSES)

    return _source(path, (path,), read)


def _folder(folder: Path, layout: Layout) -> Source:
    def read() -> Records:
        return Records(*decode(layout, read_folder(folder, layout), str(folder)), CLASSES)

    return _source(folder, tuple(folder / name for name in layout.files), read)


def _read_prepared(directory: Path) -> Records:
    records = tfds.read(directory)
    if records.images.shape[1:] != IMAGE_SHAPE or len(records.classes) != len(CLASSES):
        raise UserError(
            f"{directory} is not CIFAR-10: it has images of {records.images.shape[1:]} in "
            f"{len(records.classes)} classes, CIFAR-10 of {IMAGE_SHAPE} in {len(CLASSES)}"
        )
    return records
