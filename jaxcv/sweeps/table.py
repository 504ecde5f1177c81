"""How far a sweep has come: a live table on a terminal, lines anywhere else."""

import math
import os
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from jaxcv.metrics import Score
from jaxcv.sweeps.axes import Configuration
from jaxcv.sweeps.records import Finished
from jaxcv.sweeps.results import best_of

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

_MOST_LINES = 100
_SHOWN = 5


class Tally:
    """Reports trials as they end: how many are done, the best, images a second, time left.

    Args:
        total: trials of the sweep.
        score: that ranks them.
    """

    def __init__(self, total: int, score: Score):
        self._total, self._score = total, score
        self._finished: list[Finished] = []
        self.trained = 0
        self._start = time.monotonic()
        self._images = 0.0
        self._live: Live | None = None

    def __enter__(self) -> "Tally":
        if sys.stdout.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown"):
            from rich.live import Live

            self._live = Live(self._table(), refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def found(self, finished: Sequence[Finished]) -> None:
        """Takes trials that an earlier start has finished."""
        self._finished += finished

    def after(self, one: Finished, images: float) -> None:
        """Shows that a trial has ended, which was trained on so many images."""
        self._finished.append(one)
        self.trained += 1
        self._images += images
        done = len(self._finished)
        if self._live is not None:
            self._live.update(self._table())
        elif done == self._total or done % math.ceil(self._total / _MOST_LINES) == 0:
            print(f"trial {one.trial.number}  {self._told(one)}  {self._line()}", flush=True)

    def _told(self, one: Finished) -> str:
        score = "diverged" if one.reached is None else f"{self._score.name} {one.reached:.4f}"
        if one.pruned:
            score += f", pruned after epoch {one.record['epochs']:g}"
        varied = named(one.trial.configuration)
        return f"{varied}  seed {one.trial.experiment.seed}  {score}".strip()

    def _line(self) -> str:
        done, seconds = len(self._finished), time.monotonic() - self._start
        parts = [f"{done}/{self._total} done"]
        for what in ("pruned", "diverged"):
            count = sum(one.record["status"] == what for one in self._finished)
            parts += [f"{count} {what}"] if count else []
        best = best_of(self._finished, self._score)
        if best is not None:
            parts.append(f"best {best.score:.4f}")
        if self.trained:
            parts.append(f"{self._images / seconds:,.0f} images/s")
            minutes, left = divmod(round(seconds / self.trained * (self._total - done)), 60)
            parts.append(f"{minutes}:{left:02d} left")
        return ", ".join(parts)

    def _table(self) -> "Table":
        from rich.table import Table

        table = Table(caption=self._line(), caption_justify="left", box=None)
        for column in ("trial", "varied", "seed", self._score.name):
            table.add_column(column, justify="left" if column == "varied" else "right")
        ranked = sorted(
            (one for one in self._finished if one.score is not None),
            key=lambda one: one.score or 0.0,
            reverse=self._score.larger_is_better,
        )
        for one in ranked[:_SHOWN]:
            number, seed = str(one.trial.number), str(one.trial.experiment.seed)
            table.add_row(number, named(one.trial.configuration), seed, f"{one.score:.4f}")
        return table


def named(configuration: Configuration) -> str:
    """A configuration in one line.

    Example:
        >>> named({"learning_rate": 0.001, "features": (64, 64)})
        'learning_rate 0.001, features 64 64'
    """
    return ", ".join(f"{name} {_short(value)}" for name, value in configuration.items())


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
