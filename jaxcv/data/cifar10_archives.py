"""CIFAR-10's archives and extracted folders: from files to bytes, nothing extracted or executed."""

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from jaxcv.data.cifar10_batches import BINARY, LAYOUTS, Layout
from jaxcv.errors import UserError

# The official archives unpack to 185 MB; what is far larger is not CIFAR-10.
_MAX_UNPACKED = 1 << 30
_PIECE = 1 << 20
EXPECTED = " or ".join(layout.archive for layout in LAYOUTS)


def check_official(path: Path) -> None:
    """Check an official archive's SHA-256, if a file has one's name and size.

    Any other file may be an archive of the same structure with fewer images, made by anyone.

    Args:
        path: The file.

    Raises:
        UserError: The name and the size are an official archive's, the content is not.
    """
    for layout in LAYOUTS:
        if path.name != layout.archive or path.stat().st_size != layout.size:
            continue
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != layout.sha256:
            raise UserError(
                f"{path} has the wrong checksum: SHA-256 {layout.sha256} expected, {found} found; "
                "download it again"
            )


def read_archive(path: Path) -> tuple[Layout, dict[str, memoryview]]:
    """Read the batches of an archive, binary or Python's.

    Members are found by their exact names and read where they lie: nothing is extracted, so an
    archive cannot write anywhere.

    Args:
        path: A tar archive, compressed with gzip.

    Returns:
        The archive's form, and the bytes of each file of it.

    Raises:
        UserError: It is no such archive, is cut or damaged, or lacks a file.
    """
    check_official(path)
    data, damage = _decompress(path)
    found: dict[str, memoryview] = {}
    for member in _members(data):
        name = member.name.removeprefix("./")
        if not member.isreg():
            continue
        content = memoryview(data)[member.offset_data : member.offset_data + member.size]
        if len(content) < member.size:
            raise UserError(
                f"{path} is {damage or 'truncated'}; {name} in it should have {member.size:,} "
                f"bytes, {len(content):,} found" + _own_size(path)
            )
        if name in found:
            raise UserError(f"{path} holds {name} twice; it is not CIFAR-10's archive")
        found[name] = content
    if damage:
        raise UserError(f"{path} is {damage}" + _own_size(path))
    for layout in LAYOUTS:
        paths = {name: f"{layout.folder}/{name}" for name in layout.files}
        if any(name in found for name in paths.values()):
            missing = [name for name in paths.values() if name not in found]
            if missing:
                raise UserError(f"{path} does not hold {', '.join(missing)}; is it cut short?")
            return layout, {name: found[member] for name, member in paths.items()}
    raise UserError(
        f"{path} holds no CIFAR-10: neither {' nor '.join(x.folder for x in LAYOUTS)} is in it"
    )


def read_folder(folder: Path, layout: Layout) -> dict[str, bytes]:
    """Read the batches of an extracted folder.

    Args:
        folder: The directory with the batches.
        layout: Their form.

    Raises:
        UserError: A file is missing.
    """
    missing = [name for name in layout.files if not (folder / name).is_file()]
    if missing:
        raise UserError(f"{folder} does not hold {', '.join(missing)}; extract the archive again")
    return {name: (folder / name).read_bytes() for name in layout.files}


def _decompress(path: Path) -> tuple[bytes, str]:
    """Decompress a file as far as it goes, and say what is wrong with it, or ""."""
    data = bytearray()
    damage = ""
    try:
        with gzip.open(path) as file:
            # Small pieces, so that all before the damage is there; to the end, because only
            # there is the checksum compared.
            while piece := file.read1(_PIECE):
                data += piece
                if len(data) > _MAX_UNPACKED:
                    raise UserError(f"{path} unpacks to more than CIFAR-10 has; it is another file")
    except EOFError:
        damage = "truncated: its compressed data end early"
    except (gzip.BadGzipFile, zlib.error) as error:
        damage = f"damaged: {error}"
    if not data:
        raise UserError(
            f"{path} is no gzip archive, or cut at its start; {EXPECTED} is expected"
            + _own_size(path)
        )
    return bytes(data), damage


def _members(data: bytes) -> Iterator[tarfile.TarInfo]:
    """The members of a tar archive up to its end, or to where it is cut."""
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for member in archive:
                # A size below zero would send tarfile back to where it has been, for ever.
                if member.size < 0:
                    return
                yield member
    except (tarfile.TarError, ValueError, OverflowError):
        # Whatever is missing then is reported by name.
        return


def _own_size(path: Path) -> str:
    """Say what an official archive's size is, where the name is one's."""
    for layout in LAYOUTS:
        if path.name == layout.archive:
            return (
                f" (the file has {path.stat().st_size:,} bytes, the official one {layout.size:,})"
            )
    return ""


def download(directory: Path) -> Path:
    """Download the official binary archive.

    Args:
        directory: Where to keep it; made if it is not there.

    Returns:
        The archive, its SHA-256 checked.

    Raises:
        UserError: There is no network, no room, or what came is something else.
    """
    import logging
    import sys

    import pooch

    url = f"https://www.cs.toronto.edu/~kriz/{BINARY.archive}"
    target = directory / BINARY.archive
    advice = f"download {url} elsewhere and name its place with --data-dir"
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        pooch.retrieve(
            url,
            known_hash=f"sha256:{BINARY.sha256}",
            fname=target.name,
            path=target.parent,
            progressbar=sys.stderr.isatty(),
        )
    except ValueError as error:
        raise UserError(
            f"what {url} sent has the wrong checksum, SHA-256 {BINARY.sha256} was expected; "
            f"try again, or {advice}"
        ) from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UserError(
            f"cannot download CIFAR-10 to {target} ({reason}); {advice}, or train on the digits, "
            "which need no network"
        ) from error
    finally:
        logger.setLevel(level)
    return target
