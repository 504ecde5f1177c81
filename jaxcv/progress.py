"""How far a run has come: a live bar on a terminal, plain lines anywhere else."""

import contextlib
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.live import Live

_MOST_LINES = 100
_NARROWEST_BAR = 8
# First to go where the terminal is narrow.
_DROPPED = ("val", "images/s", "loss", "left", "cost", "accuracy")
_SHOWN = (  # of a line of metrics.jsonl: field, title and format
    ("train_loss", "loss", ".4f"),
    ("train_cost", "cost", ".4f"),
    ("train_accuracy", "accuracy", ".3f"),
    ("val_accuracy", "val", ".3f"),
    ("val_cost", "val", ".4f"),
    ("val_loss", "val loss", ".4f"),
)


class Progress:
    """Reports a run's progress on standard output.

    On a terminal one line at the bottom is kept up to date: epoch, bar, loss, accuracy, images a
    second, time left; what does not fit a narrow one is left out. Elsewhere (a file, a pipe, a
    test) an epoch is a line of text, and a run of thousands prints about a hundred of them, the
    first and the last always among them.

    A run is not lost because nobody listens any more: when standard output has gone (a closed pipe,
    a closed terminal), reports go nowhere.

    Example:
        >>> with Progress() as progress:
        ...     progress.start(total_epochs=15, steps_per_epoch=352)
        ...     progress.advance(step_in_epoch=176, images_per_second=1034.0)
        ...     progress.epoch({"epoch": 1, "train_loss": 1.5, "train_accuracy": 0.46})
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Prepare to report; nothing is written before `start`.

        Args:
            clock: returns seconds; only differences count.
        """
        self._clock = clock
        self._live: Live | None = None
        self._total = self._steps = 1
        self._done = 0.0  # epochs, with fractions
        self._mark: tuple[float, float] | None = None  # (time, epochs done), once compiled
        self._speed: float | None = None
        self._record: dict[str, Any] = {}
        self._unprinted = False
        self._printed = 0

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            with contextlib.suppress(OSError):
                self._live.stop()
            self._live = None
        elif self._unprinted and kind is None:  # stopped early, between two printed epochs
            self._print_record()

    def start(self, total_epochs: int, steps_per_epoch: int, first_epoch: int = 1) -> None:
        """Begin to report.

        Args:
            total_epochs: the epoch number that the run ends with.
            steps_per_epoch: training steps in each.
            first_epoch: 1, or the epoch that a resumed run begins with.
        """
        self._total = max(1, total_epochs)
        self._steps = max(1, steps_per_epoch)
        self._done = first_epoch - 1.0
        if sys.stdout.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown"):
            from rich.console import Console
            from rich.live import Live

            console = Console(file=sys.stdout, force_terminal=True, highlight=False)
            self._live = Live(self, console=console, refresh_per_second=4)
            self._live.start()

    def advance(self, step_in_epoch: int, images_per_second: float | None = None) -> None:
        """Report steps done within the current epoch.

        Args:
            step_in_epoch: how many of its steps are done.
            images_per_second: the speed of training just now, if known.
        """
        self._reach(math.floor(self._done) + min(step_in_epoch / self._steps, 0.999))
        self._speed = images_per_second or self._speed

    def epoch(self, record: Mapping[str, Any]) -> None:
        """Report a finished epoch.

        Args:
            record: a line of metrics.jsonl; of its fields any but `epoch` may be absent or None.
        """
        self._record = dict(record)
        self._reach(float(record["epoch"]))
        self._speed = _number(record, "images_per_second") or self._speed
        self._unprinted = True
        if self._live is None:
            every = math.ceil(self._total / _MOST_LINES)
            number = int(record["epoch"])
            if self._printed == 0 or number % every == 0 or number >= self._total:
                self._print_record()

    def note(self, text: str) -> None:
        """Print a line of text above the bar, or among the plain lines.

        Args:
            text: printed as it is.
        """
        with contextlib.suppress(OSError):
            if self._live is not None:
                self._live.console.print(text, markup=False, emoji=False, soft_wrap=True)
            else:
                print(text, flush=True)

    def _reach(self, done: float) -> None:
        self._done = done
        if self._mark is None:  # what came before includes compilation and tells no speed
            self._mark = (self._clock(), done)

    def _seconds_left(self) -> float | None:
        if self._mark is None:
            return None
        then, done_then = self._mark
        if self._done > done_then:
            per_epoch = (self._clock() - then) / (self._done - done_then)
        else:
            per_epoch = _number(self._record, "seconds")
        return None if per_epoch is None else max(0.0, (self._total - self._done) * per_epoch)

    def _print_record(self) -> None:
        parts = [f"epoch {self._record['epoch']}/{self._total}", *self._metrics(), *self._pace()]
        self.note("  ".join(parts))
        self._unprinted = False
        self._printed += 1

    def _metrics(self) -> list[str]:
        known = {name: _number(self._record, name) for name, _, _ in _SHOWN}
        return [
            f"{title} {value:{form}}"
            for name, title, form in _SHOWN
            if (value := known[name]) is not None
            and not (name == "val_loss" and known["val_accuracy"] is not None)
        ]

    def _pace(self) -> list[str]:
        parts = [] if self._speed is None else [f"{self._speed:,.0f} images/s"]
        left = self._seconds_left()
        if left is not None and self._done < self._total:
            parts.append(f"{_duration(left)} left")
        return parts

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        """Draw the bar in one line, whatever the width."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        current = min(self._total, math.floor(self._done) + 1)
        head = f"epoch {current}/{self._total}"
        parts = [*self._metrics(), *self._pace()]
        room = options.max_width - len(head) - 1
        while parts and sum(len(part) + 2 for part in parts) + _NARROWEST_BAR > room:
            parts.remove(next(part for word in _DROPPED for part in parts if word in part))
        table = Table.grid(padding=(0, 1, 0, 0))
        cells: list[Any] = [Text(head, style="bold", no_wrap=True, overflow="crop")]
        width = min(40, room - sum(len(part) + 2 for part in parts) - 2)
        if width >= 4:
            cells.append(ProgressBar(total=self._total, completed=self._done, width=width))
        if parts:
            cells.append(Text("  ".join(parts), no_wrap=True, overflow="crop"))
        table.add_row(*cells)
        yield table


def _number(record: Mapping[str, Any], name: str) -> float | None:
    value = record.get(name)
    return None if value is None else float(value)


def _duration(seconds: float) -> str:
    """Return `m:ss`, `h:mm:ss` or `2 d 03 h`."""
    whole = round(seconds) if math.isfinite(seconds) else 0
    minutes, whole = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours:02d} h"
    return f"{hours}:{minutes:02d}:{whole:02d}" if hours else f"{minutes}:{whole:02d}"
