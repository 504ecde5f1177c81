"""Printing that outlives its reader: a run does not end because nobody listens."""

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any


class _Heedless(io.FileIO):
    """A file that takes what can no more be written, and remembers why."""

    failure: OSError | None = None

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.failure = self.failure or error
            return memoryview(data).nbytes


@contextlib.contextmanager
def outliving() -> Iterator[Callable[[], OSError | None]]:
    """While inside, nothing that is printed raises, whatever has become of the reader.

    A program that was started with the two closed has somewhere to print to, too. What is no file
    of the process's own, such as a test's, is left alone.

    Yields:
        A function that tells why standard output could not be written, a full disk for example; a
        pipe that its reader has closed is no reason.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    before = sys.stdout, sys.stderr
    raw = _replaced("stdout", sys.__stdout__)
    _replaced("stderr", sys.__stderr__)

    def lost() -> OSError | None:
        with contextlib.suppress(OSError, ValueError):  # closed by the program itself
            sys.stdout.flush()
        failure = None if raw is None else raw.failure
        return None if isinstance(failure, BrokenPipeError) else failure

    try:
        yield lost
    finally:
        lost()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def _replaced(name: str, own: Any) -> _Heedless | None:
    """Puts a heedless stream in the place of the process's own."""
    stream = getattr(sys, name)
    buffered = isinstance(getattr(stream, "buffer", None), io.BufferedWriter)
    unbuffered = isinstance(getattr(stream, "buffer", None), io.FileIO)  # PYTHONUNBUFFERED
    if stream is not own or not (buffered or unbuffered):
        return None
    stream.flush()
    raw = _Heedless(stream.fileno(), "w", closefd=False)
    replacement = io.TextIOWrapper(
        io.BufferedWriter(raw) if buffered else raw,  # pyright: ignore[reportArgumentType]
        stream.encoding,
        stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
    setattr(sys, name, replacement)
    return raw
