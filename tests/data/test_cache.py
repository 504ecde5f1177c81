import os
from pathlib import Path

import numpy as np
import pytest

from jaxcv.data.cache import Source, recall
from jaxcv.data.dataset import Records
from jaxcv.errors import UserError

RECORDS = Records(
    np.random.default_rng(0).integers(0, 256, (12, 4, 5, 3), np.uint8),
    np.arange(12, dtype=np.int32) % 3,
    8,
    ("cat", "dog", "späte Eule"),
)


class Counted:
    """A source whose readings are counted."""

    def __init__(self, file: Path, version: str = ""):
        file.write_bytes(b"pixels")
        self.readings = 0
        self.source = Source("toy", self.read, (file,), version)

    def read(self) -> Records:
        self.readings += 1
        return RECORDS

    def recall(self) -> int:
        """Recall the source, check what comes, and say how often it has been read by now."""
        found = recall(self.source)
        assert np.array_equal(found.images, RECORDS.images)
        assert np.array_equal(found.labels, RECORDS.labels)
        assert found.images.dtype == np.uint8
        assert found.labels.dtype == np.int32
        assert (found.pool, found.classes) == (RECORDS.pool, RECORDS.classes)
        return self.readings


@pytest.fixture
def counted(tmp_path: Path) -> Counted:
    return Counted(tmp_path / "file")


def only_file(directory: Path) -> Path:
    (path,) = directory.iterdir()
    return path


def test_a_source_is_read_once(counted, cache):
    assert [counted.recall() for _ in range(3)] == [1, 1, 1]
    assert only_file(cache).suffix == ".npz"


def test_another_size_or_time_is_read_anew_in_the_old_ones_place(counted, cache):
    counted.recall()
    (file,) = counted.source.files
    file.write_bytes(b"more pixels")
    assert counted.recall() == 2
    os.utime(file, ns=(1, 1))
    assert counted.recall() == 3
    assert counted.recall() == 3
    only_file(cache)


def test_another_version_or_name_is_read_anew(tmp_path):
    first = Counted(tmp_path / "file", "1.0")
    first.recall()
    assert Counted(tmp_path / "file", "1.1").recall() == 1
    source = first.source
    recall(Source("other", source.read, source.files, source.version))
    assert first.readings == 2


def test_any_damage_is_repaired_silently(counted, cache):
    counted.recall()
    path = only_file(cache)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    # Inside the images, where only a checksum can notice.
    flipped[whole.index(RECORDS.images.tobytes()) + 7] ^= 1
    damaged = [b"", b"nonsense", whole[: len(whole) // 2], bytes(flipped)]
    for readings, content in enumerate(damaged, start=2):
        path.write_bytes(content)
        assert counted.recall() == readings
        assert counted.recall() == readings


def test_pickled_content_is_not_loaded(counted, cache):
    counted.recall()
    path = only_file(cache)
    with np.load(path) as stored:
        content = dict(stored)
    np.savez(path, **{**content, "images": np.array([print], object)}, allow_pickle=True)
    assert counted.recall() == 2


def test_a_cache_that_holds_what_no_reader_gives_is_rebuilt(counted, cache):
    counted.recall()
    path = only_file(cache)
    with np.load(path) as stored:
        content = dict(stored)
    np.savez(path, **{**content, "labels": content["labels"] + 9})
    assert counted.recall() == 2


def test_without_a_writable_cache_every_load_reads(counted, monkeypatch, tmp_path):
    (tmp_path / "in the way").write_text("a file where the directory would be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "in the way"))
    assert [counted.recall() for _ in range(2)] == [1, 2]


def test_a_write_that_fails_leaves_nothing(counted, cache, monkeypatch):
    def full_disk(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", full_disk)
        assert counted.recall() == 1
    assert list(cache.iterdir()) == []
    assert counted.recall() == 2


def test_bad_records_are_refused_and_not_kept(tmp_path, cache):
    bad = Records(RECORDS.images, RECORDS.labels, 8, ("cat",))
    with pytest.raises(UserError, match="toy: label 1 of image 1 is out of range"):
        recall(Source("toy", lambda: bad))
    assert not cache.exists()
