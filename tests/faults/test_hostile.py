"""Files made to run a command when they are opened: nothing runs, wherever jaxcv reads them."""

import contextlib
import hashlib
import io
import json
import os
import pickle
import sqlite3
import tarfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flax import serialization

from jaxcv import checkpoints, cli, parameters
from jaxcv.data import cache, load
from jaxcv.data.cifar10_batches import BINARY, PYTHON
from jaxcv.data.dataset import Records
from jaxcv.trained import load as load_model
from tests.cifar10_files import make_sample, write_binary_folder, write_prepared_sample
from tests.faults.ends import ended


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.mark}'",)


def bombs(mark: Path) -> list[bytes]:
    """The payload alone, in a list, as an entry of a batch, in an array, by several protocols."""
    payload = Payload(mark)
    array = np.array([payload], object)
    values = (payload, [payload], {b"data": payload, b"labels": [1]}, array)
    return [pickle.dumps(value, protocol) for value in values for protocol in (0, 2, 5)]


def checksummed(first: bytes, payload: bytes, over_first: bool) -> bytes:
    digest = hashlib.sha256((first if over_first else b"") + payload).hexdigest().encode()
    return first + digest + b"\n" + payload


def as_checkpoint(place: Path, bomb: bytes) -> None:
    documents = [bomb, serialization.msgpack_serialize({"state": bomb, "experiment": bomb})]
    for document in documents:
        for content in (bomb, checksummed(b"jaxcv checkpoint 2\n", document, over_first=True)):
            (place / "checkpoints").mkdir(exist_ok=True)
            (place / "checkpoints" / "step-0000000001.msgpack").write_bytes(content)
            with contextlib.suppress(Exception):
                checkpoints.restore(place / "checkpoints")
            with contextlib.suppress(Exception):
                load_model(place)


def as_parameters(place: Path, bomb: bytes) -> None:
    first = parameters._MAGIC
    for content in (bomb, checksummed(first, bomb, over_first=False)):
        (place / "best.msgpack").write_bytes(content)
        with contextlib.suppress(Exception):
            parameters.read(place / "best.msgpack")


def as_experiment(place: Path, bomb: bytes) -> None:
    text = json.dumps({"model": {"type": "os.system", "command": bomb.decode("latin1")}})
    for content in (bomb, text.encode()):
        (place / "experiment.json").write_bytes(content)
        status, lines, _ = ended(lambda: cli.entry(["run", str(place / "experiment.json")]))
        assert (status, len(lines)) == (2, 1)
        status, lines, _ = ended(lambda: cli.entry(["report", str(place)]))
        assert (status, len(lines)) in ((2, 1), (0, 0))


def as_archive(place: Path, bomb: bytes) -> None:
    for layout in (BINARY, PYTHON):
        path = place / "cifar.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            for name in layout.files:
                info = tarfile.TarInfo(f"{layout.folder}/{name}")
                info.size = len(bomb)
                archive.addfile(info, io.BytesIO(bomb))
        status, lines, _ = ended(lambda path=path: load("cifar10", path))
        assert (status, len(lines)) == (2, 1)
    path.write_bytes(bomb)
    assert ended(lambda: load("cifar10", path))[0] == 2


def as_prepared(place: Path, bomb: bytes) -> None:
    directory = write_prepared_sample(place / "tfds", make_sample(5, 5))
    for file in sorted(directory.iterdir()):
        whole = file.read_bytes()
        file.write_bytes(bomb)
        status, lines, _ = ended(lambda: load("tfds:cifar10", place / "tfds"))
        assert (status, len(lines)) in ((2, 1), (0, 0))
        file.write_bytes(whole)


def as_hdf5(place: Path, bomb: bytes) -> None:
    h5py = pytest.importorskip("h5py")
    path = place / "x.h5"
    path.write_bytes(bomb)
    assert ended(lambda: load("patches", data_file=str(path)))[0] == 2
    with h5py.File(path, "w") as file:
        file["x"] = np.frombuffer(bomb.ljust(3 * 16 * 64, b"\0")[: 3 * 16 * 64], np.uint8).reshape(
            -1, 3, 8, 8
        )
        file["x"].attrs["pickle"] = np.void(bomb)
        file.create_dataset("data", data=np.void(bomb))
    assert ended(lambda: load("patches", data_file=str(path)))[0] in (0, 2)


def as_cached(place: Path, bomb: bytes) -> None:
    records = Records(
        np.zeros((20, 2, 2, 1), np.uint8), np.arange(20, dtype=np.int32) % 2, 10, ("a", "b")
    )
    source = cache.Source("x", lambda: records)
    file = cache._directory() / f"{hashlib.sha256(b'x').hexdigest()[:24]}.npz"
    file.parent.mkdir(parents=True, exist_ok=True)
    for write in (file.write_bytes, lambda data: np.savez(file, fingerprint=np.array([data], "O"))):
        write(bomb)
        with contextlib.suppress(Exception):
            cache.recall(source)
    file.unlink(missing_ok=True)


def as_study(place: Path, bomb: bytes) -> None:
    pytest.importorskip("optuna")
    from jaxcv.sweeps.study import Study, default_url

    def opened() -> Study:
        return Study(default_url(place), "sweep", {"a": 1}, {}, larger_is_better=True)

    path = place / "study.db"
    path.unlink(missing_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        opened()
        with contextlib.closing(sqlite3.connect(path)) as database:
            for (table,) in database.execute("select name from sqlite_master where type='table'"):
                columns = [row[1] for row in database.execute(f"pragma table_info({table})")]
                for column in columns:
                    if column.endswith(("json", "value", "name")):
                        with contextlib.suppress(sqlite3.Error):
                            database.execute(f"update {table} set {column} = ?", (bomb,))
                            database.commit()
        with contextlib.suppress(Exception):
            opened()
        path.write_bytes(bomb)
        assert ended(opened)[0] == 2


PLACES: dict[str, Callable[[Path, bytes], None]] = {
    "checkpoint": as_checkpoint,
    "parameters": as_parameters,
    "experiment": as_experiment,
    "archive": as_archive,
    "prepared": as_prepared,
    "hdf5": as_hdf5,
    "cached": as_cached,
    "study": as_study,
}
_SLOW = ("experiment", "prepared", "study")


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=pytest.mark.faults if kind in _SLOW else ()) for kind in PLACES],
)
def test_nothing_that_is_read_is_executed(kind, tmp_path):
    mark = tmp_path / "it ran"
    found = bombs(mark)
    for number, bomb in enumerate(found[::6] if kind in _SLOW else found):
        place = tmp_path / str(number)
        place.mkdir()
        PLACES[kind](place, bomb)
        assert not mark.exists()
    # The payload is one: whoever unpickles it runs it.
    pickle.loads(found[0])
    assert mark.exists()


def test_an_archive_writes_nowhere(tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    folder = write_binary_folder(tmp_path / "made", make_sample(10, 5))
    inside.mkdir()
    path = inside / "evil.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, folder.name)
        for name in ("../outside", str(outside), "link/outside", "plain"):
            info = tarfile.TarInfo(name)
            info.size = 1
            archive.addfile(info, io.BytesIO(b"x"))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            info = tarfile.TarInfo("link")
            info.type, info.linkname = kind, str(tmp_path)
            archive.addfile(info)
    load("cifar10", path)
    assert not outside.exists()
    assert [child.name for child in inside.iterdir()] == ["evil.tar.gz"]
