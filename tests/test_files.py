"""Atomic writing and JSON."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from jaxcv import files
from jaxcv.errors import UserError
from jaxcv.files import read_bytes, read_json, unwritable, write_bytes, write_json


def test_json_keeps_the_order_of_fields_and_reads_back(tmp_path: Path):
    value = {"z": 1, "a": {"y": [1.5, "é"], "b": None}, "flag": True}
    write_json(tmp_path / "deep" / "value.json", value)
    assert read_json(tmp_path / "deep" / "value.json") == value
    text = (tmp_path / "deep" / "value.json").read_text()
    assert text.startswith('{\n  "z": 1,\n  "a": {')
    assert text.endswith("}\n")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -np.inf, np.float32("nan")])
def test_what_is_not_finite_is_null(tmp_path: Path, value: float):
    write_json(tmp_path / "value.json", {"x": value, "list": [value, 1.0]})
    assert read_json(tmp_path / "value.json") == {"x": None, "list": [None, 1.0]}


def test_numpy_values_and_paths_are_written_as_plain_json(tmp_path: Path):
    value = {"a": np.int32(3), "b": np.arange(2), "c": (np.float64(0.5),), "d": Path("x/y")}
    write_json(tmp_path / "value.json", value)
    assert read_json(tmp_path / "value.json") == {"a": 3, "b": [0, 1], "c": [0.5], "d": "x/y"}


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "value.json"
    write_bytes(path, b"old")

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["value.json"]


def test_names_of_directories_just_made_reach_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    synced, sync = [], files.sync
    monkeypatch.setattr(files, "sync", lambda path: (synced.append(path), sync(path)))
    write_bytes(tmp_path / "run" / "checkpoints" / "step", b"1")
    assert synced == [tmp_path, tmp_path / "run", tmp_path / "run" / "checkpoints"]
    synced.clear()
    write_bytes(tmp_path / "run" / "checkpoints" / "step", b"2")
    assert synced == [tmp_path / "run" / "checkpoints"]


def test_what_json_cannot_hold_is_refused_before_writing(tmp_path: Path):
    with pytest.raises(TypeError, match="complex has no JSON form"):
        write_json(tmp_path / "value.json", {"x": 1j})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b'{"a": 1', "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[1, 2]", "holds a JSON list"),
        (b"[" * 100_000, "not valid JSON"),
    ],
)
def test_broken_json_is_one_line_with_the_file_name(tmp_path: Path, content: bytes, complaint: str):
    path = tmp_path / "experiment.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=complaint) as caught:
        read_json(path)
    assert "experiment.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_absent_file_is_a_user_error(tmp_path: Path):
    with pytest.raises(UserError, match="no such file"):
        read_json(tmp_path / "absent.json")


def test_files_read_back_as_json_are_standard_json(tmp_path: Path):
    write_json(tmp_path / "value.json", {"x": float("nan")})

    def refuse(name: str) -> None:
        raise AssertionError(name)

    json.loads((tmp_path / "value.json").read_text(), parse_constant=refuse)


@pytest.mark.parametrize(
    "made",
    [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")],
    ids=["fifo", "dir", "dev"],
)
def test_what_would_never_end_is_not_read(tmp_path: Path, made):
    path = tmp_path / "result.json"
    made(path)
    with pytest.raises(OSError, match="not a regular file"):
        read_bytes(path)
    with pytest.raises(UserError, match=r"result.json: cannot be read: not a regular file"):
        read_json(path)
    (tmp_path / "link").symlink_to(__file__)
    assert read_bytes(tmp_path / "link") == Path(__file__).read_bytes()


def test_what_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "report.html").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        write_bytes(tmp_path / "report.html", b"page")
    line = f"cannot write in {tmp_path} ({tmp_path}/report.html): Is a directory"
    assert str(unwritable(tmp_path, caught.value)) == line
    full = OSError(28, "No space left on device")
    assert str(unwritable(tmp_path, full)) == f"cannot write in {tmp_path}: No space left on device"
