"""SIGTERM and Ctrl-C, at any moment of a run: its state is saved within two chunks' time."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from jaxcv import checkpoints, running, runtime
from jaxcv.epochs import run_epoch
from jaxcv.exits import Interrupted
from jaxcv.fitting import fit
from tests.faults.subjects import SUBJECTS
from tests.tiny import with_settings


@pytest.fixture(autouse=True)
def _interrupts_are_heard() -> Iterator[None]:
    """What the shell starts in the background ignores SIGINT, as a run that inherits that does."""
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, inherited)


@pytest.mark.parametrize(
    ("number", "delay"),
    [
        (signal.SIGTERM, 0.3),
        pytest.param(signal.SIGINT, 0.3, marks=pytest.mark.faults),
        *(
            pytest.param(number, delay, marks=pytest.mark.faults)
            for number in (signal.SIGTERM, signal.SIGINT)
            for delay in (0.01, 0.1, 0.7, 1.3)
        ),
    ],
)
def test_a_signal_saves_within_two_chunks_time(
    tmp_path: Path, monkeypatch, record_property, number, delay
):
    chunks: list[float] = []  # when each had ended
    sent: list[float] = []

    def send() -> None:
        sent.append(time.monotonic())
        os.kill(os.getpid(), number)

    timer = threading.Timer(delay, send)

    def watched(*arguments):
        if not chunks:
            chunks.append(time.monotonic())
            timer.start()
        for state, done in run_epoch(*arguments):
            chunks.append(time.monotonic())
            yield state, done

    monkeypatch.setattr(running, "run_epoch", watched)
    endless = with_settings(SUBJECTS["softmax"], epochs=100_000)
    with runtime.signals_noted() as signalled, pytest.raises(Interrupted) as caught:
        fit(endless, tmp_path / "run", verify=False, signalled=signalled)
    ended = time.monotonic()
    assert caught.value.status == 128 + number
    saved = checkpoints.restore(tmp_path / "run" / "checkpoints")
    assert saved is not None
    assert f"step {int(saved.state.step)};" in str(caught.value)
    # The chunk that the signal fell into is the last.
    assert sum(at > sent[0] for at in chunks) <= 1
    record_property("chunk_seconds", max(b - a for a, b in pairwise(chunks)))
    record_property("seconds", ended - sent[0])
