"""A lane of a sweep: one trial's course, from its first epoch to what it leaves."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
from jaxtyping import PyTree

from jaxcv.course import Course, Numbers, best_epoch
from jaxcv.data.dataset import Dataset
from jaxcv.errors import Diverged
from jaxcv.experiment import Experiment, Views
from jaxcv.operations import training_pflop
from jaxcv.results import params_sha256, result_record
from jaxcv.throughput import Throughput


class Stopped(Exception):
    """A signal has come; what is unfinished starts again another time."""


class Outcome(NamedTuple):
    """What a lane leaves.

    Attributes:
        record: the fields of result.json, and `status`: "complete", "pruned" or "diverged".
        lines: of metrics.jsonl.
        params: those that the record's scores are of, as in a lone run: the last, or the best where
            early stopping is on. Where it diverged, the best there were.
        batch_stats: running statistics that belong to them.
        busy: seconds inside compiled programs.
        images: trained on in all epochs.
    """

    record: dict[str, Any]
    lines: list[dict[str, Any]]
    params: PyTree
    batch_stats: PyTree
    busy: float
    images: float


Watch = Callable[[int, int, Any, bool], bool]
"""Told which trial, how many epochs, the validation score and whether all is done anyway: whether
to give the trial up."""


def never(which: int, epoch: int, score: Any, over: bool) -> bool:
    """Gives up no trial."""
    return False


class Clock:
    """Adds up the seconds spent inside."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        self.seconds += time.perf_counter() - self._start


class Lane:
    """A trial as it goes: its course, its lines, and its parameters once it is over.

    Args:
        experiment: the trial's.
        dataset: that it trains on.
        prunes: a `Watch` of this trial.
    """

    def __init__(
        self,
        experiment: Experiment,
        dataset: Dataset,
        prunes: Callable[[int, Any, bool], bool],
    ):
        self.experiment = experiment
        self.course = Course(experiment)
        self.lines: list[dict[str, Any]] = []
        self.throughput = Throughput()
        self.diverged = False
        self.pruned = False
        self._prunes = prunes
        self.last: tuple[PyTree, PyTree] | None = None
        self._image_shape = dataset.image_shape
        self._batch_size = experiment.batch_size or len(dataset.train)

    def after(
        self, numbers: Numbers, steps: int, parameters: Callable[[], tuple[PyTree, PyTree]]
    ) -> None:
        """Takes an epoch's numbers; where the lane is over then, keeps its last parameters."""
        try:
            self.course, record = self.course.after(numbers, steps, parameters)
        except Diverged:
            self.diverged = True
        else:
            self.lines.append(record)
            self.throughput = self.throughput.after(record)
        over = self.diverged or self.course.over(numbers.epoch, steps)
        if not self.diverged:
            score = self.lines[-1][f"val_{self.experiment.loss.score.name}"]
            self.pruned = self._prunes(numbers.epoch, score, over)
        if over or self.pruned:
            self.last = parameters()

    @property
    def over(self) -> bool:
        """Whether nothing is left to train."""
        return self.last is not None

    def tested(self) -> tuple[PyTree, PyTree]:
        """Parameters and statistics that the test images are for, as those of a lone run."""
        best = self.course.best
        stopping = self.experiment.patience is not None and best is not None
        return (best.params, best.batch_stats) if stopping and best is not None else self._last()

    @property
    def views(self) -> tuple[Views, ...]:
        """The views of the test images that the lane is tested with, those of its result first."""
        return tuple(dict.fromkeys((self.experiment.views, "plain")))

    def outcome(self, tests: Mapping[Views, Mapping[str, Any]], **facts: Any) -> Outcome:
        """The lane's end.

        Args:
            tests: the loss's totals over the test images, for each of `views`.
            facts: what only the bundle knows: compile_seconds, seconds and busy.
        """
        experiment, best = self.experiment, self.course.best
        score = experiment.loss.score.name
        metrics = experiment.loss.metrics(tests[experiment.views])
        self.diverged |= not all(map(math.isfinite, metrics.values()))
        begun = len(self.lines)
        marked = best_epoch(experiment, self.lines)
        stopping = experiment.patience is not None and best is not None
        line = self.lines[(marked if stopping else begun) - 1] if self.lines else {}
        params, batch_stats = self._last()
        plain = {}
        if experiment.views != "plain" and not self.diverged:
            plain[f"test_{score}_plain"] = experiment.loss.metrics(tests["plain"])[score]
        record = result_record(
            experiment,
            epochs=min(begun, experiment.epochs),
            best_epoch=marked,
            validation=line.get(f"val_{score}"),
            test=None if self.diverged else metrics[score],
            params=params,
            sha256=params_sha256(params, batch_stats),
            resumed_from_steps=(),
            compile_seconds=facts["compile_seconds"],
            images_per_second=self.throughput.rate,
            seconds=facts["seconds"],
            training_pflop=training_pflop(
                experiment,
                self._image_shape,
                self._batch_size * (self.lines[-1]["step"] if self.lines else 0),
            ),
            **plain,
        )
        record["status"] = self._status()
        kept = self.tested()
        if self.diverged and best is not None:
            kept = best.params, best.batch_stats
        images = sum(line["seconds"] * line["images_per_second"] for line in self.lines)
        params, batch_stats = jax.device_get(kept)
        return Outcome(record, self.lines, params, batch_stats, facts["busy"], images)

    def _status(self) -> str:
        if self.diverged:
            return "diverged"
        return "pruned" if self.pruned else "complete"

    def _last(self) -> tuple[PyTree, PyTree]:
        assert self.last is not None, "a lane has an outcome when it is over"
        return self.last
