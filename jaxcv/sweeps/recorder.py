"""Writes down what trials leave, beside the training: files, the study, the table of results."""

import contextlib
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

from jaxcv.sweeps import records
from jaxcv.sweeps.lanes import Outcome
from jaxcv.sweeps.records import Finished
from jaxcv.sweeps.results import write_results
from jaxcv.sweeps.study import Study
from jaxcv.sweeps.trials import Trial

# The table of all results is written anew after so long.
_SECONDS = 10.0


class Recorder:
    """A thread that writes; its errors are raised by the next call, or at the end.

    The table has every trial that is written when the sweep ends, however it ends.

    Args:
        workdir: of the sweep.
        study: takes each trial after its files are whole.
        facts: of the sweep, for results.json.
    """

    def __init__(self, workdir: Path, study: Study, facts: Mapping[str, Any]):
        self._workdir, self._study, self._facts = workdir, study, facts
        self._written: list[Finished] = []
        self._thread = ThreadPoolExecutor(1, "recorder")
        self._pending: list[Future[None]] = []
        self._table_at = time.monotonic()

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.shutdown(wait=True)
        if kind is None:
            try:
                self._raise()
            finally:
                self._table()
        elif self._written:
            # What ends the sweep is told, not what the disk refuses then.
            with contextlib.suppress(OSError):
                self._table()

    def found(self, finished: Sequence[Finished]) -> None:
        """Takes trials that an earlier start has finished: their files are whole.

        Raises:
            OSError, UserError: an earlier trial could not be written.
        """
        self._raise()
        self._pending.append(self._thread.submit(self._found, finished))

    def add(self, trial: Trial, outcome: Outcome, facts: Mapping[str, Any]) -> None:
        """Takes what a trial leaves.

        Raises:
            OSError, UserError: an earlier trial could not be written.
        """
        self._raise()
        self._pending.append(self._thread.submit(self._write, trial, outcome, facts))

    def _found(self, finished: Sequence[Finished]) -> None:
        self._written += finished
        self._study.add(finished)

    def _write(self, trial: Trial, outcome: Outcome, facts: Mapping[str, Any]) -> None:
        one = records.write(self._workdir, trial, outcome, facts)
        self._written.append(one)
        self._study.add([one])
        if time.monotonic() - self._table_at > _SECONDS:
            self._table()

    def _table(self) -> None:
        write_results(self._workdir, self._written, self._facts)
        self._table_at = time.monotonic()

    def _raise(self) -> None:
        while self._pending and self._pending[0].done():
            self._pending.pop(0).result()
