import gzip
import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pooch
import pytest
import requests

from jaxcv.data import cifar10_archives
from jaxcv.data.cifar10_archives import check_official, download, read_archive, read_folder
from jaxcv.data.cifar10_batches import BINARY, LAYOUTS, PYTHON
from jaxcv.errors import UserError
from tests.cifar10_files import (
    make_sample,
    write_archive,
    write_binary_folder,
    write_python_folder,
)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = write_binary_folder(tmp_path, make_sample(20, 5))
    return write_archive(folder, tmp_path / BINARY.archive)


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def test_an_archive_and_its_folder_hold_the_same(tmp_path):
    sample = make_sample(20, 5)
    for layout, write in [(BINARY, write_binary_folder), (PYTHON, write_python_folder)]:
        folder = write(tmp_path, sample)
        found, files = read_archive(write_archive(folder, tmp_path / "any name.tgz"))
        assert found == layout
        assert {name: bytes(data) for name, data in files.items()} == read_folder(folder, layout)
        assert tuple(files) == layout.files


def test_a_leading_dot_in_names_is_no_difference(archive, tmp_path):
    with tarfile.open(tmp_path / "dotted.tar.gz", "w:gz") as dotted:
        dotted.add(tmp_path / BINARY.folder, f"./{BINARY.folder}")
    assert read_archive(tmp_path / "dotted.tar.gz") == read_archive(archive)


def test_nothing_is_extracted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inside").mkdir()
    files = {f"{BINARY.folder}/{name}": b"x" for name in BINARY.files}
    evil = {"../outside": b"x", str(tmp_path / "absolute"): b"x", "plain": b"x"}
    path = write_tar(tmp_path / "inside" / "evil.tar.gz", {**evil, **files})
    read_archive(path)
    assert [child.name for child in tmp_path.iterdir()] == ["inside"]
    assert [child.name for child in (tmp_path / "inside").iterdir()] == ["evil.tar.gz"]


def test_a_link_is_no_file(tmp_path):
    path = tmp_path / "links.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name in BINARY.files:
            info = tarfile.TarInfo(f"{BINARY.folder}/{name}")
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(info)
    with pytest.raises(UserError, match="holds no CIFAR-10"):
        read_archive(path)


def test_a_cut_archive_says_which_file_and_how_many_bytes(archive):
    # Stored without compression, so that a place in the archive is a place in a file of it.
    archive.write_bytes(gzip.compress(gzip.decompress(archive.read_bytes()), 0))
    whole = archive.read_bytes()
    with tarfile.open(archive) as opened:
        middle = opened.getmember(f"{BINARY.folder}/data_batch_3.bin")
    archive.write_bytes(whole[: middle.offset_data + 2000])
    expected = rf"truncated.*; {BINARY.folder}/data_batch_3.bin .* 12,292 bytes, 1,9\d\d found"
    with pytest.raises(UserError, match=expected + r" \(the file has .* official one 170,052,171"):
        read_archive(archive)


def test_every_cut_is_noticed(archive):
    whole = archive.read_bytes()
    near_the_ends = [*range(100), *range(len(whole) - 30, len(whole))]
    for end in [*near_the_ends, *range(100, len(whole), 997)]:
        archive.write_bytes(whole[:end])
        with pytest.raises(UserError, match=r"truncated|no gzip archive"):
            read_archive(archive)


def test_a_cut_tar_in_a_whole_gzip_is_noticed(archive, tmp_path):
    tar = gzip.decompress(archive.read_bytes())
    for end in range(0, len(tar) - 10_240, 4_999):
        archive.write_bytes(gzip.compress(tar[:end], 1))
        with pytest.raises(UserError, match=r"truncated; |does not hold|holds no CIFAR-10|no gzip"):
            read_archive(archive)


def test_every_changed_byte_is_noticed(archive):
    whole = archive.read_bytes()
    noticed = 0
    for position in np.random.default_rng(0).integers(20, len(whole), 60):
        changed = bytearray(whole)
        changed[position] ^= 0x40
        archive.write_bytes(changed)
        with pytest.raises(UserError, match=r"damaged|truncated|no gzip") as caught:
            read_archive(archive)
        noticed += "CRC" in str(caught.value)
    # Random pixels do not compress, so nearly all damage is of the kind only the checksum sees.
    assert noticed > 20


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no gzip archive"),
        (b"not a gzip file at all", "is no gzip archive, .* cifar-10-binary.tar.gz or"),
        (gzip.compress(b""), "is no gzip archive"),
        (gzip.compress(b"not a tar file"), "holds no CIFAR-10"),
        (gzip.compress(bytes(10_240)), "holds no CIFAR-10"),
    ],
    # Names of their own: gzip writes the time of day, and workers must agree on the names.
    ids=["empty", "text", "gzip of nothing", "gzip of text", "gzip of zeros"],
)
def test_what_is_no_archive_is_refused(content, message, tmp_path):
    path = tmp_path / "data.tar.gz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"{path} {message}"):
        read_archive(path)


def test_an_archive_of_something_else_is_refused(tmp_path):
    path = write_tar(tmp_path / "x.tar.gz", {"cifar-100-binary/train.bin": b"x"})
    with pytest.raises(UserError, match="neither cifar-10-batches-bin nor cifar-10-batches-py"):
        read_archive(path)


def test_a_missing_file_is_named(archive, tmp_path):
    files = {f"{BINARY.folder}/{name}": b"x" for name in BINARY.files[:-2]}
    with pytest.raises(UserError, match=r"does not hold .*/data_batch_5.bin, .*/test_batch.bin"):
        read_archive(write_tar(tmp_path / "x.tar.gz", files))
    (tmp_path / BINARY.folder / "data_batch_2.bin").unlink()
    with pytest.raises(UserError, match=r"bin does not hold data_batch_2.bin;"):
        read_folder(tmp_path / BINARY.folder, BINARY)


def test_a_file_that_is_there_twice_is_refused(tmp_path):
    path = tmp_path / "x.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for _ in range(2):
            archive.addfile(tarfile.TarInfo(f"{BINARY.folder}/test_batch.bin"))
    with pytest.raises(UserError, match=r"test_batch\.bin twice"):
        read_archive(path)


def test_a_negative_size_does_not_loop(tmp_path):
    info = tarfile.TarInfo("other")
    info.type = tarfile.DIRTYPE
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = (-1024).to_bytes(12, "big", signed=True)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(bytes(header) * 4))
    with pytest.raises(UserError, match="holds no CIFAR-10"):
        read_archive(path)


def test_an_archive_that_unpacks_without_end_is_refused(archive, monkeypatch):
    monkeypatch.setattr(cifar10_archives, "_MAX_UNPACKED", 10_000)
    with pytest.raises(UserError, match="unpacks to more than"):
        read_archive(archive)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_official_name_and_size_call_for_the_official_checksum(layout, tmp_path):
    path = tmp_path / layout.archive
    with path.open("wb") as file:
        file.truncate(layout.size)
    with pytest.raises(UserError, match=f"wrong checksum: SHA-256 {layout.sha256} expected, .* do"):
        read_archive(path)
    # Another name or size: an archive like any other.
    check_official(path.rename(tmp_path / "other.tar.gz"))
    path.write_bytes(b"x")
    check_official(path)


def test_the_download_is_the_official_archive_checked(tmp_path, monkeypatch):
    asked = {}

    def retrieve(url: str, **kwargs: object) -> None:
        asked.update(kwargs, url=url)

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    assert download(tmp_path) == tmp_path / "cifar-10-binary.tar.gz"
    assert asked["url"] == "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
    assert asked["known_hash"] == f"sha256:{BINARY.sha256}"
    assert (asked["fname"], asked["path"]) == ("cifar-10-binary.tar.gz", tmp_path)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (requests.exceptions.ConnectionError("host\nunknown"), "cannot download .*ConnectionError"),
        (requests.exceptions.HTTPError("404"), "cannot download .*HTTPError"),
        (OSError(28, "No space left on device"), "cannot download .*No space left on device"),
        (ValueError("SHA256 hash does not match"), "wrong checksum"),
    ],
)
def test_a_failed_download_is_one_line_with_what_to_do(error, message, tmp_path, monkeypatch):
    def retrieve(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    with pytest.raises(UserError, match=f"{message}.* name its place with --data-dir") as caught:
        download(tmp_path)
    assert "\n" not in str(caught.value)


def test_pooch_refuses_another_file(tmp_path, monkeypatch):
    """The same through pooch itself, with only its way to the network replaced."""

    def respond(self: object, url: str, output_file: str | Path, pooch: object) -> None:
        Path(output_file).write_bytes(b"something else")

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", respond)
    with pytest.raises(UserError, match="wrong checksum"):
        download(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_pooch_keeps_what_has_the_right_checksum(archive, tmp_path, monkeypatch):
    content = archive.read_bytes()
    small = cifar10_archives.BINARY.__class__(
        **{**vars(BINARY), "sha256": hashlib.sha256(content).hexdigest()}
    )

    def respond(self: object, url: str, output_file: str | Path, pooch: object) -> None:
        Path(output_file).write_bytes(content)

    monkeypatch.setattr(cifar10_archives, "BINARY", small)
    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", respond)
    assert download(tmp_path / "new" / "directory").read_bytes() == content
