"""Commands run inside the test's own process: thousands of cases, and each must end properly."""

import contextlib
import io
import signal
import warnings
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from jaxcv.exits import exits


def by_tier(short: int, more: int, everything: int) -> list[Any]:
    """Seeds of that many cases in all, in parts for `make test`, `make test-all`, `make deep`.

    Each parameter is (seed, cases).
    """
    return [
        (0, short),
        pytest.param(1, more - short, marks=pytest.mark.faults),
        pytest.param(2, everything - more, marks=pytest.mark.deep),
    ]


def ended(command: Callable[[], Any], seconds: int = 120) -> tuple[int, list[str], Any]:
    """How a command ends: its exit status, its lines on stderr but for warnings, its value.

    Any exception but the one for an exit status is the test's failure, and so is one that takes
    too long, for a hang.
    """
    err, out = io.StringIO(), io.StringIO()
    status, value = 0, None
    with (
        warnings.catch_warnings(),
        _limited(seconds),
        contextlib.redirect_stderr(err),
        contextlib.redirect_stdout(out),
    ):
        warnings.simplefilter("default")  # in the tests they are errors
        try:
            with exits("jaxcv"):
                value = command()
        except SystemExit as end:
            status = int(end.code or 0)
    lines = [line for line in err.getvalue().splitlines() if ": warning: " not in line]
    return status, lines, value


@contextlib.contextmanager
def _limited(seconds: int) -> Iterator[None]:
    def hang(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"still busy after {seconds} s")

    before = signal.signal(signal.SIGALRM, hang)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
