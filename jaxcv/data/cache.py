"""Decoded arrays kept on disk, so that only the first run of a data set pays for decoding."""

import contextlib
import dataclasses
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from jaxcv.data.dataset import Records

# Raise when what is stored, or how a source decodes or orders its images, changes.
_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Source:
    """Where records come from: enough to know them again without reading them.

    Attributes:
        name: Which file of the cache is this source's: a data set's name and place.
        read: Decodes the records.
        files: The files that `read` reads; their sizes and times of change say whether what is
            cached is still what they hold.
        version: Whatever else the records depend on.
        kept: Whether the records are worth a file in the cache.
    """

    name: str
    read: Callable[[], Records]
    files: tuple[Path, ...] = ()
    version: str = ""
    kept: bool = True


def recall(source: Source) -> Records:
    """Give a source's records, from the cache if they are there and still right.

    The cache is `data/` in the user's cache directory, one file a source. What is missing, stale,
    damaged or cannot be read is decoded anew; what cannot be written is not kept. Neither is ever
    an error.

    Args:
        source: What to read.

    Raises:
        UserError: The source itself cannot be read.
    """
    if not source.kept:
        return source.read().check(source.name)
    fingerprint = _fingerprint(source)
    path = _directory() / f"{hashlib.sha256(source.name.encode()).hexdigest()[:24]}.npz"
    # Whatever a damaged file makes NumPy, zipfile or our own check raise, the answer is the same.
    with contextlib.suppress(Exception):
        return _read(path, fingerprint).check(source.name)
    records = source.read().check(source.name)
    with contextlib.suppress(OSError):
        _write(path, fingerprint, records)
    return records


def _directory() -> Path:
    import platformdirs

    return Path(platformdirs.user_cache_dir("jaxcv")) / "data"


def _fingerprint(source: Source) -> str:
    parts = [f"{_FORMAT} {source.version}"]
    for path in source.files:
        # A file that is not there is for `read` to report.
        with contextlib.suppress(OSError):
            status = path.stat()
            parts.append(f"{path} {status.st_size} {status.st_mtime_ns}")
    return "\n".join(parts)


def _read(path: Path, fingerprint: str) -> Records:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        if stored["fingerprint"].item() != fingerprint:
            raise ValueError("stale")
        return Records(
            images=stored["images"],
            labels=stored["labels"],
            pool=int(stored["pool"]),
            classes=tuple(str(name) for name in stored["classes"]),
        )


def _write(path: Path, fingerprint: str, records: Records) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written beside and renamed: a reader sees the old file or the new, whole.
    handle, temporary = tempfile.mkstemp(suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(
                file,
                fingerprint=np.array(fingerprint),
                images=records.images,
                labels=records.labels,
                pool=np.array(records.pool),
                classes=np.array(records.classes),
            )
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
