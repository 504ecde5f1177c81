"""The bar on terminals, the lines elsewhere."""

import contextlib
import io
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable

import pytest

from jaxcv.progress import Progress

RECORD = {
    "epoch": 3,
    "train_loss": 1.02341,
    "train_accuracy": 0.6412,
    "val_loss": 1.1,
    "val_accuracy": 0.602,
    "seconds": 12.6,
    "images_per_second": 1034.2,
}


class Clock:
    """Seconds that pass only when told."""

    def __init__(self):
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_an_epoch_is_a_plain_line_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]):
    with Progress(clock=Clock()) as progress:
        progress.note("compiled in 2.1 s")
        progress.start(total_epochs=15, steps_per_epoch=352, first_epoch=3)
        progress.epoch(RECORD)
    first, second = capsys.readouterr().out.splitlines()
    assert first == "compiled in 2.1 s"
    assert second == (
        "epoch 3/15  loss 1.0234  accuracy 0.641  val 0.602  1,034 images/s  2:31 left"
    )


def test_what_a_record_lacks_is_left_out(capsys: pytest.CaptureFixture[str]):
    with Progress() as progress:
        progress.start(5, 1)
        progress.epoch({"epoch": 5, "train_loss": 0.5, "train_accuracy": None, "val_loss": 0.25})
    assert capsys.readouterr().out == "epoch 5/5  loss 0.5000  val loss 0.2500\n"


def test_time_left_is_measured_after_the_first_report(capsys: pytest.CaptureFixture[str]):
    clock = Clock()
    with Progress(clock=clock) as progress:
        progress.start(10, 100)
        clock.now += 1000  # before the first report: compilation, say, which does not come again
        progress.advance(step_in_epoch=50)
        clock.now += 10
        progress.epoch({"epoch": 1})
    assert capsys.readouterr().out == "epoch 1/10  3:00 left\n"


@pytest.mark.parametrize(
    ("seconds", "text"), [(59.6, "1:00"), (3661, "1:01:01"), (100_000, "1 d 03 h")]
)
def test_durations_read_as_a_clock(capsys: pytest.CaptureFixture[str], seconds: float, text: str):
    with Progress() as progress:
        progress.start(2, 1)
        progress.epoch({"epoch": 1, "seconds": seconds})
    assert capsys.readouterr().out == f"epoch 1/2  {text} left\n"


def lines(total: int, last: int, first: int = 1) -> list[int]:
    """The epochs that a run of `total`, stopped after `last`, prints."""
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream), Progress() as progress:
        progress.start(total, 1, first)
        for epoch in range(first, last + 1):
            progress.epoch({"epoch": epoch})
    return [int(number) for number in re.findall(r"epoch (\d+)/", stream.getvalue())]


@pytest.mark.parametrize("total", [1, 15, 100, 101, 5000, 5001])
def test_a_long_run_prints_about_a_hundred_lines_with_the_first_and_the_last(total: int):
    printed = lines(total, total)
    assert printed == sorted(set(printed))
    assert (printed[0], printed[-1]) == (1, total)
    assert len(printed) == total if total <= 100 else 50 <= len(printed) <= 102


@pytest.mark.parametrize("last", [1, 777, 800])
def test_the_last_epoch_of_a_run_stopped_early_is_printed_once(last: int):
    printed = lines(5000, last)
    assert printed[-1] == last
    assert printed.count(last) == 1


def test_the_first_epoch_of_a_resumed_run_is_printed():
    assert lines(5000, 5000, first=1234)[0] == 1234


def test_a_failed_run_prints_nothing_more(capsys: pytest.CaptureFixture[str]):
    def fail() -> None:
        with Progress() as progress:
            progress.start(1000, 1)
            for epoch in (1, 2):
                progress.epoch({"epoch": epoch})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert capsys.readouterr().out.splitlines() == ["epoch 1/1000"]


class Gone(io.StringIO):
    """A pipe whose reader has left."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def test_a_run_outlives_the_reader_of_its_reports():
    with contextlib.redirect_stdout(Gone()), Progress() as progress:
        progress.note("nobody reads this")
        progress.start(2, 1)
        progress.epoch({"epoch": 1})
        progress.epoch({"epoch": 2})


PROGRAM = """
from jaxcv.progress import Progress
with Progress() as progress:
    progress.start(total_epochs=4, steps_per_epoch=10)
    progress.advance(5, 1034.0)
    progress.note("[bold]a note")
    record = dict(train_loss=1.0234, train_accuracy=.641, val_accuracy=.602, seconds=9.0)
    progress.epoch(dict(record, epoch=3, images_per_second=1034.0))
print("after")
"""


def on_terminal(width: int, term: str = "xterm-256color") -> str:
    """What PROGRAM writes to a terminal of so many columns."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(width), "TERM": term}
    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    ) as program:
        os.close(theirs)
        written = b""
        try:
            while part := os.read(ours, 4096):
                written += part
        except OSError:  # Linux's way to say that the other end is closed
            pass
        finally:
            os.close(ours)
    assert program.returncode == 0, written.decode()
    return written.decode()


def plain(text: str) -> list[str]:
    """The lines of a terminal's output without its control sequences."""
    without = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    return [line.rstrip() for line in re.split(r"[\r\n]+", without) if line.strip()]


def test_a_terminal_shows_a_bar_with_everything():
    written = on_terminal(100)
    assert "\x1b[" in written
    *_, bar, after = plain(written)
    assert after == "after"
    for part in ("epoch 4/4", "━", "loss 1.0234", "accuracy 0.641", "1,034 images/s", " left"):
        assert part in bar
    assert "[bold]a note" in plain(written)


@pytest.mark.parametrize("width", [79, 30, 8])
def test_the_bar_fits_a_narrow_terminal(width: int):
    *_, bar, after = plain(on_terminal(width))
    assert after == "after"
    assert bar.startswith("epoch 4/4"[:width])
    assert len(bar) <= width
    if width == 79:
        assert re.search("loss.*accuracy.*images/s.*left", bar)


def test_a_dumb_terminal_gets_lines():
    assert "\x1b" not in on_terminal(80, term="dumb")


@pytest.mark.parametrize("call", [lambda p: p.note("x"), lambda p: None])
def test_a_run_that_never_starts_ends_cleanly(
    capsys: pytest.CaptureFixture[str], call: Callable[[Progress], None]
):
    with Progress() as progress:
        call(progress)
    assert capsys.readouterr().out in ("x\n", "")
