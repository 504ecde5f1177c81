"""The course of a run: what is made of an epoch's numbers, and when a run is over.

A lone run and a lane of a sweep take the same decisions from the same numbers.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import PyTree

from jaxcv.experiment import Experiment
from jaxcv.metrics import require_finite, require_sane
from jaxcv.schedules import total_steps


@dataclasses.dataclass(frozen=True)
class Best:
    """The parameters with the best validation score so far.

    Attributes:
        epoch: after which they were.
        score: theirs on the validation images.
        params: trainable parameters.
        batch_stats: running statistics that belong to them.
    """

    epoch: int
    score: float
    params: PyTree
    batch_stats: PyTree


def best_epoch(experiment: Experiment, lines: Sequence[Mapping[str, Any]]) -> int:
    """The epoch, counted from 1, that was the first to reach the best validation score.

    By the lines, not by the best parameters that were kept: those of a part of an epoch count no
    more once a longer run has gone on inside it.

    Args:
        experiment: what was trained.
        lines: of metrics.jsonl, all of them; without validation images the last is the best.
    """
    score = experiment.loss.score
    best: tuple[int, float | None] = (len(lines), None)
    for epoch, line in enumerate(lines, 1):
        value = line[f"val_{score.name}"]
        if value is not None and score.improves(value, best[1]):
            best = (epoch, value)
    return best[0]


@dataclasses.dataclass(frozen=True)
class Numbers:
    """What an epoch has given, on the host.

    Attributes:
        epoch: from 1.
        step: steps of the run that are done.
        totals: the loss's totals over the epoch's batches.
        validation: those of the validation images; None without any.
        report: what the optimizer tells of its last step.
        seconds: that training took.
        images: trained on in that time.
    """

    epoch: int
    step: int
    totals: Mapping[str, Any]
    validation: Mapping[str, Any] | None
    report: Mapping[str, Any]
    seconds: float
    images: int


@dataclasses.dataclass(frozen=True)
class Course:
    """How far a run has come.

    Attributes:
        experiment: what is trained.
        best: the best parameters; None without validation images, or before the first epoch.
        converged: the optimizer says that there is nothing more to gain.
    """

    experiment: Experiment
    best: Best | None = None
    converged: bool = False

    def over(self, epoch: int, steps_per_epoch: int) -> bool:
        """Whether nothing is left to do after so many epochs.

        All are done, or patience has run out, or the optimizer has converged.
        """
        # By steps: a part of an epoch may be too small for one.
        total = int(total_steps(steps_per_epoch, float(self.experiment.epochs)))
        if epoch * steps_per_epoch >= total or self.converged:
            return True
        patience, best = self.experiment.patience, self.best
        return patience is not None and best is not None and epoch - best.epoch >= patience

    def reported(self, report: Mapping[str, Any]) -> "Course":
        """With what the optimizer has told of its last step."""
        values = {name: np.asarray(value).item() for name, value in report.items()}
        converged = self.experiment.optimizer.has_converged(values)
        return dataclasses.replace(self, converged=converged)

    def after(
        self,
        numbers: Numbers,
        steps_per_epoch: int,
        parameters: Callable[[], tuple[PyTree, PyTree]],
    ) -> tuple["Course", dict[str, Any]]:
        """The course after an epoch, and the epoch's line of metrics.jsonl.

        Args:
            numbers: what the epoch has given.
            steps_per_epoch: what the schedule counts in.
            parameters: copies parameters and statistics; called where they are the best so far.

        Raises:
            Diverged: a metric of the training or the validation images is not finite, or the
                training loss is above 10,000.
        """
        loss = self.experiment.loss
        train = loss.metrics(numbers.totals)
        require_finite(train, numbers.epoch)
        validation = {} if numbers.validation is None else loss.metrics(numbers.validation)
        # The training loss is of the parameters before each step: not of the last ones.
        require_finite(validation, numbers.epoch)
        require_sane(next(iter(train)), train, numbers.epoch)
        course = self.reported(numbers.report)
        if validation:
            score = validation[loss.score.name]
            if loss.score.improves(score, self.best.score if self.best is not None else None):
                best = Best(numbers.epoch, score, *parameters())
                course = dataclasses.replace(course, best=best)
        record = {
            "epoch": numbers.epoch,
            "step": numbers.step,
            **{f"train_{name}": value for name, value in train.items()},
            **{f"val_{name}": validation.get(name) for name in train},
            "learning_rate": self.learning_rate(numbers.step - 1, steps_per_epoch),
            "seconds": numbers.seconds,
            "images_per_second": numbers.images / numbers.seconds,
            **{name: np.asarray(value).item() for name, value in numbers.report.items()},
        }
        return course, record

    def learning_rate(self, step: int, steps_per_epoch: int) -> float:
        """The learning rate of a step, counted from 0."""
        factor = self.experiment.schedule.factor(
            np.int32(step), steps_per_epoch, float(self.experiment.epochs)
        )
        return float(self.experiment.optimizer.learning_rate * factor)
