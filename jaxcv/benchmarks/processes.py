"""A worker's process: started in its environment, told one thing at a time."""

import contextlib
import json
import os
import selectors
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jaxcv.benchmarks.contestants import Contestant
from jaxcv.errors import UserError

WORKERS = Path(__file__).parent / "workers"


class Process:
    """One contestant, alive for all rounds of a network.

    Attributes:
        pid: its number.
        facts: what it said when it was ready: versions, and seconds of compiling where it knows.
    """

    def __init__(
        self, contestant: Contestant, python: Path, task: Mapping[str, Any], cache: Path, log: Path
    ):
        """Starts the process and waits until it is ready.

        Args:
            contestant: whose worker.
            python: the interpreter of its environment.
            task: what `workers.protocol.Task` reads.
            cache: where JAX keeps compiled programs: empty at the start of a bench, so that
                seconds of compiling are those of a first run.
            log: takes what the worker writes to stderr.

        Raises:
            UserError: the worker ended instead.
        """
        self.name, self.log = contestant.name, log
        variables = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache)}
        if contestant.environment:  # what jaxcv runs on is none of the peer's business
            variables.pop("PYTHONPATH", None)
        variables |= dict(contestant.variables)
        options = {
            "precision": contestant.precision,
            "options": dict(contestant.options),
        }
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w", encoding="utf-8") as errors:
            self._process = subprocess.Popen(
                [str(python), str(WORKERS / contestant.worker), json.dumps({**task, **options})],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=variables,
            )
        self.pid = self._process.pid
        self.facts = self._answer()

    def run(self, command: str) -> float:
        """Seconds that a command takes.

        Raises:
            UserError: the worker has ended.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{command}\n".encode())
            self._process.stdin.flush()
        return self._answer()["seconds"]

    def end(self) -> None:
        """Closes its input, which ends it; sooner or later."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        # Children of a framework's compiler may hold the other end still: nobody waits for them.
        self._process.stdout.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(timeout=1800):
                raise UserError(f"{self.name} says nothing for half an hour; see {self.log}")
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise UserError(f"{self.name} has ended: {(lines or ['nothing said'])[-1]}")
        return json.loads(line)


@contextlib.contextmanager
def ended(processes: Mapping[str, Process]) -> Iterator[None]:
    """Ends all that are in the mapping by then, whatever happens inside."""
    try:
        yield
    finally:
        for process in processes.values():
            process.end()
