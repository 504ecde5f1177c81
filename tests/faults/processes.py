"""Runs in processes of their own, forked where everything is imported already: to be killed."""

import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

_SERVED = multiprocessing.get_context("forkserver")
_SERVED.set_forkserver_preload(["jaxcv.fitting", "jaxcv.outcome", "tests.faults.subjects", "tyro"])


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Run:
    """A process that trains a subject (`tests.faults.subjects`), its outputs in a directory.

    Args:
        name: of the subject.
        directory: where the outputs go, and the workdir "run" is.
        flags: of the run.
        prepare: called in the process before all else; a function of a module.
    """

    def __init__(
        self,
        name: str,
        directory: Path,
        flags: Sequence[str] = (),
        prepare: Callable[[], Any] | None = None,
    ):
        self.directory = directory
        self.workdir = directory / "run"
        directory.mkdir(parents=True, exist_ok=True)
        arguments = ["--workdir", str(self.workdir), *flags]
        self.process = _SERVED.Process(target=_train, args=(name, arguments, directory, prepare))
        self.process.start()

    def wait(self, seconds: float = 600) -> int:
        """The exit status; of a killed process minus the signal's number."""
        self.process.join(seconds)
        if self.process.is_alive():
            self.process.kill()
            raise TimeoutError(f"still running after {seconds} s: {self.errors()}")
        assert self.process.exitcode is not None
        return self.process.exitcode

    def wait_for(self, condition: Callable[[], bool], seconds: float = 300) -> bool:
        """Waits until something holds, or the process has ended: whether it holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            if not self.process.is_alive() or time.monotonic() > deadline:
                return condition()
            time.sleep(0.005)
        return True

    def checkpoints(self) -> set[Path]:
        """The checkpoints that are there."""
        return set((self.workdir / "checkpoints").glob("step-*.msgpack"))

    def errors(self) -> str:
        """What it has written to stderr."""
        return (self.directory / "stderr").read_text()


def _train(
    name: str,
    arguments: list[str],
    directory: Path,
    prepare: Callable[[], Any] | None,
) -> None:
    for number, stream in ((1, "stdout"), (2, "stderr")):
        file = os.open(directory / stream, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
    from jaxcv import main
    from tests.faults.subjects import SUBJECTS

    if prepare is not None:
        prepare()
    sys.argv = [name]
    main(SUBJECTS[name], arguments)
