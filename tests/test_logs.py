"""metrics.jsonl and the event files, which the real TensorBoard reads."""

import contextlib
import json
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcv import plots
from jaxcv.errors import UserError
from jaxcv.logs import EventWriter, append_metrics, read_metrics, rewind_metrics

RECORDS = [{"epoch": epoch, "train_loss": 1 / epoch, "val_loss": None} for epoch in (1, 2, 3)]


def write(path: Path, records: list[dict[str, Any]]) -> None:
    for record in records:
        append_metrics(path, record)


def test_records_read_back_in_order(tmp_path: Path):
    write(tmp_path / "metrics.jsonl", RECORDS)
    assert read_metrics(tmp_path / "metrics.jsonl") == RECORDS
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 3


def test_an_absent_file_holds_no_records(tmp_path: Path):
    assert read_metrics(tmp_path / "metrics.jsonl") == []
    rewind_metrics(tmp_path / "metrics.jsonl", 3)
    assert not (tmp_path / "metrics.jsonl").exists()


def test_nan_is_written_as_null(tmp_path: Path):
    append_metrics(tmp_path / "m", {"epoch": 1, "a": float("nan"), "b": np.float32("inf")})
    assert (tmp_path / "m").read_text() == '{"epoch": 1, "a": null, "b": null}\n'


@given(cut=st.integers(1, 60))
def test_a_half_written_last_line_is_ignored_and_then_replaced(
    tmp_path_factory: pytest.TempPathFactory, cut: int
):
    path = tmp_path_factory.mktemp("cut") / "metrics.jsonl"
    write(path, RECORDS)
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    complete = [json.loads(line) for line in whole[:-cut].split(b"\n")[:-1]]
    if cut == 1:  # only the line's end is missing: the record itself is whole
        complete = RECORDS
    assert read_metrics(path) == complete
    append_metrics(path, {"epoch": 9})
    assert read_metrics(path) == [*complete, {"epoch": 9}]


def test_a_broken_line_in_the_middle_is_named(tmp_path: Path):
    (tmp_path / "m").write_text('{"epoch": 1}\n{"epo\n{"epoch": 3}\n')
    with pytest.raises(UserError, match="line 2"):
        read_metrics(tmp_path / "m")


@pytest.mark.parametrize("epoch", [0, 1, 2, 3, 7])
def test_rewinding_keeps_the_epochs_up_to_one(tmp_path: Path, epoch: int):
    path = tmp_path / "metrics.jsonl"
    write(path, RECORDS)
    rewind_metrics(path, epoch)
    assert read_metrics(path) == RECORDS[:epoch]
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_events_on_a_full_disk_raise_at_once(tmp_path: Path):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    events = EventWriter(tmp_path)
    events._file.close()
    events._file = open("/dev/full", "wb", buffering=0)  # noqa: SIM115
    with events, pytest.raises(OSError, match="No space left"):
        events.scalars(1, {"x": 1.0})


def test_pictures_that_are_neither_png_nor_uint8_are_refused(tmp_path: Path):
    (tmp_path / "text.png").write_text("no picture")
    with EventWriter(tmp_path) as events:
        with pytest.raises(ValueError, match="not a PNG"):
            events.images(1, "x", tmp_path / "text.png")
        with pytest.raises(ValueError, match="uint8"):
            events.images(1, "x", np.zeros((4, 4, 3)))


def test_each_writer_has_a_file_of_its_own_in_the_order_of_the_names(tmp_path: Path):
    made = []
    for step in (1, 2, 3, 4):
        if step == 4:
            (tmp_path / made[0]).unlink()
        with EventWriter(tmp_path, resumed_from=step - 1) as events:
            events.scalars(step, {"x": 1.0})
        made += {path.name for path in tmp_path.iterdir()} - set(made)
    assert made == sorted(set(made))
    assert len(made) == 4
    assert all("tfevents" in name and name.startswith("events.") for name in made)


def test_what_is_logged_is_in_the_file_before_the_writer_is_closed(tmp_path: Path):
    with EventWriter(tmp_path) as events:
        (path,) = tmp_path.iterdir()
        before = path.stat().st_size
        events.scalars(1, {"x": 1.0})
        assert path.stat().st_size > before


@contextlib.contextmanager
def tensorboard(logdir: Path, log: Path, *options: str) -> Iterator[str]:
    """Start the real TensorBoard on a free port; yields its address."""
    command = [sys.executable, "-m", "tensorboard.main", "--host=127.0.0.1", "--port=0"]
    with (
        log.open("w") as output,
        subprocess.Popen(
            [*command, f"--logdir={logdir}", *options], stdout=output, stderr=subprocess.STDOUT
        ) as server,
    ):
        try:
            for _ in range(300):
                found = re.search(r"http://127\.0\.0\.1:\d+/", log.read_text())
                if found or server.poll() is not None:
                    break
                time.sleep(0.1)
            assert found, log.read_text()
            yield found.group()
        finally:
            server.terminate()


def ask(address: str, **query: str) -> bytes:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(f"{address}?{urllib.parse.urlencode(query)}", timeout=10) as answer:
        return answer.read()


@pytest.mark.parametrize("load_fast", ["true", "false"])  # its two readers of event files
def test_tensorboard_shows_scalars_histograms_and_images_without_doubled_points(
    tmp_path: Path, load_fast: str
):
    pytest.importorskip("tensorboard")
    rng = np.random.default_rng(0)
    workdir = tmp_path / "run"
    plots.save(plots.curves([{"epoch": 1, "train_loss": 1.0}]), workdir / "curves.png")
    with EventWriter(workdir) as events:
        for step in (10, 20, 30, 40):
            events.scalars(step, {"epoch": step // 10, "step": step, "train_loss": 1.0 * step})
    with EventWriter(workdir, resumed_from=10) as events:
        for step in (20, 30):
            record = {"train_loss": 2.0 * step, "val_accuracy": None, "val_loss": float("nan")}
            events.scalars(step, record)
        params = {"Conv_0": {"kernel": rng.normal(size=(3, 3, 3, 4)), "bias": np.zeros(4)}}
        params["Dense_0"] = {"kernel": np.full((4, 2), np.nan), "bias": np.array([1, np.inf])}
        events.histograms(30, params)
        events.images(30, "curves", workdir / "curves.png")
        events.images(30, "grey", np.arange(12, dtype=np.uint8).reshape(3, 4, 1))

    with tensorboard(workdir, tmp_path / "log", f"--load_fast={load_fast}") as address:
        plugins = f"{address}data/plugin"
        for _ in range(150):
            shown = {
                name: set(json.loads(ask(f"{plugins}/{name}/tags")).get(".", {}))
                for name in ("scalars", "histograms", "images")
            }
            if shown["images"] == {"curves", "grey"}:
                break
            time.sleep(0.1)
        assert shown == {
            "scalars": {"train_loss"},
            "histograms": {"Conv_0/kernel", "Conv_0/bias", "Dense_0/bias"},
            "images": {"curves", "grey"},
        }
        points = json.loads(ask(f"{plugins}/scalars/scalars", run=".", tag="train_loss"))
        assert [(step, value) for _, step, value in points] == [(10, 10), (20, 40), (30, 60)]
        bins = json.loads(ask(f"{plugins}/histograms/histograms", run=".", tag="Conv_0/kernel"))
        assert sum(count for _, _, count in bins[0][2]) == pytest.approx(108)
        (image,) = json.loads(ask(f"{plugins}/images/images", run=".", tag="curves", sample="0"))
        picture = ask(f"{plugins}/images/individualImage?{image['query']}&")
        assert picture == (workdir / "curves.png").read_bytes()
