"""Files that are either whole or absent: atomic writing, and JSON as the standard has it."""

import errno
import json
import math
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxcv.errors import UserError


def write_bytes(path: Path, data: bytes) -> None:
    """Replace `path` by `data` in one step.

    A reader, and a run killed at any moment, sees the old content or the new, never a part. The
    bytes reach the disk before the name does, and the name before this returns.

    Args:
        path: the file; its directory is made when absent.
        data: the whole new content.

    Raises:
        OSError: the disk is full or the place cannot be written; `path` is unchanged then.
    """
    make_directory(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def make_directory(path: Path) -> None:
    """Make a directory, and those above it, unless it is there; their names reach the disk.

    Raises:
        OSError: the place cannot be written, or something else has the name.
    """
    absent = [place for place in (path, *path.parents) if not place.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for place in reversed(absent):
        sync(place.parent)


def read_bytes(path: Path) -> bytes:
    """The content of a file.

    Raises:
        OSError: it is absent, unreadable, or no regular file: a pipe or a device in its place would
            keep the reader waiting, perhaps for ever.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
    return path.read_bytes()


def unwritable(place: Path, error: OSError) -> UserError:
    """The line for what has failed in writing below a directory, with the file where it is told."""
    file = str(error.filename2 or error.filename or "")
    named = f" ({file})" if file and not file.endswith(".tmp") and file != str(place) else ""
    return UserError(f"cannot write in {place}{named}: {error.strerror or error}")


def sync(path: Path) -> None:
    """Wait until a file's content, or a directory's names, are on the disk.

    Raises:
        OSError: it is absent, or the disk fails.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_leftovers(directory: Path) -> None:
    """Remove what writers that were killed have left of `write_bytes` in a directory.

    To be called only where nobody else writes.

    Raises:
        OSError: the place cannot be written.
    """
    for path in directory.glob(".*.tmp"):
        path.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON in one step, its fields in the order given.

    NumPy and JAX scalars and arrays, paths and tuples are accepted; NaN and the infinities, which
    JSON does not know, become null.

    Args:
        path: the file to replace.
        value: nested mappings, sequences and scalars.

    Raises:
        OSError: the place cannot be written.
        TypeError: `value` holds something that JSON cannot hold.
    """
    text = json.dumps(to_json(value), indent=2, allow_nan=False, ensure_ascii=False)
    write_bytes(path, (text + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object that the file holds.

    Args:
        path: a file that the user named or that a run left.

    Raises:
        UserError: the file is absent, unreadable, not JSON, or JSON but not an object.
    """
    try:
        value = json.loads(read_bytes(path))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: holds a JSON {type(value).__name__}, an object was expected")
    return value


def to_json(value: Any) -> Any:
    """Return `value` made of the types that JSON knows, NaN and the infinities as None.

    Raises:
        TypeError: something in it has no JSON form.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):  # NumPy and JAX scalars and arrays
        return to_json(value.tolist())
    raise TypeError(f"{type(value).__name__} has no JSON form: {value!r}")
