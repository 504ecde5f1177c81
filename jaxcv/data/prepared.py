"""Record files that tensorflow-datasets prepared: where they are and whether they are whole.

Nothing here imports tensorflow-datasets.
"""

import re
from pathlib import Path

from jaxcv.errors import UserError

_VERSION = re.compile(r"\d+\.\d+\.\d+")
_INFO = "dataset_info.json"

# The container of array_record files: https://github.com/google/riegeli, doc
# "riegeli_records_file_format.md". Blocks start with a header that lies between the bytes of
# whatever chunk spans the boundary.
_BLOCK = 1 << 16
_BLOCK_HEADER = 24
_CHUNK_HEADER = 40


def find_prepared(
    root: Path, name: str, config: str | None = None, version: str | None = None
) -> Path | None:
    """Find the directory `name[/config]/version` of a prepared data set.

    Args:
        root: A directory of prepared data sets.
        name: The data set.
        config: Its configuration; None for none, or for the only one there is.
        version: Such as "3.0.2"; None for the newest.

    Returns:
        The directory that holds dataset_info.json; None if there is none.

    Raises:
        UserError: `config` is None and there are several.
    """
    base = root / name if config is None else root / name / config
    if found := _newest(base, version):
        return found
    if config is not None or not base.is_dir():
        return None
    configs = [child for child in sorted(base.iterdir()) if _newest(child, version)]
    if len(configs) > 1:
        raise UserError(
            f"{name} is prepared in several configurations in {root}; name one of "
            + ", ".join(f"tfds:{name}/{child.name}" for child in configs)
        )
    return _newest(configs[0], version) if configs else None


def _newest(base: Path, version: str | None) -> Path | None:
    if not base.is_dir():
        return None
    versions = [
        child
        for child in base.iterdir()
        if _VERSION.fullmatch(child.name)
        and version in (None, child.name)
        and (child / _INFO).is_file()
    ]
    return max(
        versions,
        key=lambda child: tuple(int(part) for part in child.name.split(".")),
        default=None,
    )


def count_whole_records(path: Path) -> int:
    """Count the records of an array_record file that are there whole, without its index.

    The index stands at the end of the file, so a truncated file has none; but the chunks before
    it say how long they are and how many records they hold. The index is itself stored as
    records: for a file that has it the count is too large.

    Args:
        path: An array_record file, possibly truncated.
    """
    data = path.read_bytes()
    position = count = 0
    while True:
        header, position = _unframed(data, position, _CHUNK_HEADER)
        length = int.from_bytes(header[8:16], "little")
        records = int.from_bytes(header[25:32], "little")
        end = _advance(position, length)
        if len(header) < _CHUNK_HEADER or end > len(data):
            return count
        count += records
        position = end


def _advance(position: int, length: int) -> int:
    """The position `length` bytes of chunks after `position`, block headers left out."""
    # Content of the block at `position` that lies before it counts as already passed.
    block, offset = divmod(position, _BLOCK)
    content = _BLOCK - _BLOCK_HEADER
    passed = max(offset - _BLOCK_HEADER, 0) + length
    if length == 0:
        return position
    # A chunk that ends with a block ends at the boundary, before the next header.
    blocks, rest = divmod(passed - 1, content)
    return (block + blocks) * _BLOCK + _BLOCK_HEADER + rest + 1


def _unframed(data: bytes, position: int, length: int) -> tuple[bytes, int]:
    end = _advance(position, length)
    boundary = -(-position // _BLOCK) * _BLOCK
    if boundary >= end:
        return data[position:end], end
    return data[position:boundary] + data[boundary + _BLOCK_HEADER : end], end
