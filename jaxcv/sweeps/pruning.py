"""Which trials are given up early: Optuna's pruners, told every trial's score after each epoch.

A pruner decides from the scores that it was told before, and a bundle decides in which order it is
told: lane after lane where they train one after another, epoch after epoch where they train at
once. A sweep that was killed tells the scores of its finished trials again, from their files and in
their places among the others, so that it prunes what it would have pruned.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from jaxcv.data.dataset import Dataset
from jaxcv.errors import UserError
from jaxcv.extras import require
from jaxcv.sweeps.records import Finished
from jaxcv.sweeps.search import direction
from jaxcv.sweeps.trials import Trial

Pruner = Literal["none", "median", "halving", "hyperband"]


class _Told(NamedTuple):
    """A finished trial's score after an epoch, and its state if that was the last."""

    place: tuple[int, int]
    number: int
    epoch: int
    score: float
    ended: str | None


class Pruning:
    """A pruner on its way through a sweep.

    `median` prunes what is worse than the median of the complete trials at the same epoch, once
    there are five; `halving` keeps, at epochs 1, 4, 16, ..., the best quarter of the trials that
    have come so far; `hyperband` keeps thirds, and lets some trials begin to compete later.

    Args:
        pruner: which.
        epochs: of the longest trial.
        larger_is_better: of the score.
    """

    def __init__(self, pruner: Pruner, epochs: int, larger_is_better: bool):
        optuna = require("optuna", "sweep")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        pruners = optuna.pruners
        chosen = {
            "none": pruners.NopPruner,
            "median": pruners.MedianPruner,
            "halving": lambda: pruners.SuccessiveHalvingPruner(min_resource=1),
            "hyperband": lambda: pruners.HyperbandPruner(max_resource=epochs),
        }[pruner]()
        # Hyperband assigns trials to its brackets by the study's name and their numbers.
        self._study = optuna.create_study(
            study_name="sweep",
            direction=direction(larger_is_better),
            sampler=optuna.samplers.RandomSampler(seed=0),
            pruner=chosen,
        )
        self._states = {
            "complete": optuna.trial.TrialState.COMPLETE,
            "pruned": optuna.trial.TrialState.PRUNED,
        }
        self._trials: dict[int, Any] = {}

    def begin(self, trials: Sequence[Trial]) -> None:
        """Takes the trials of a round, in the order of their numbers."""
        for trial in trials:
            self._trials[trial.number] = self._study.ask()

    def tell(self, number: int, epoch: int, score: float) -> bool:
        """Takes a trial's score after an epoch; whether to give it up."""
        self._trials[number].report(score, epoch)
        return bool(self._trials[number].should_prune())

    def end(self, number: int, state: str, score: float) -> None:
        """Takes how a trial has ended: "complete" or "pruned"."""
        value = score if state == "complete" else None
        self._study.tell(self._trials[number], value, state=self._states[state])


class BundlePruning:
    """A pruner's decisions on the trials of a bundle, of which some may be finished already.

    Args:
        pruning: of the sweep.
        bundle: trials, in the order of their lanes.
        finished: those of them, by number, that an earlier start has trained.
        at_once: whether lanes advance together, epoch by epoch.
    """

    def __init__(
        self,
        pruning: Pruning,
        bundle: Sequence[Trial],
        finished: Mapping[int, Finished],
        at_once: bool,
    ):
        self._pruning, self._at_once = pruning, at_once
        self._lanes = {trial.number: lane for lane, trial in enumerate(bundle)}
        self._known = sorted(
            (told for one in finished.values() for told in self._told(one)), reverse=True
        )
        self._verdicts: dict[tuple[int, int], bool] = {}

    def after(self, number: int, epoch: int, score: float, over: bool) -> bool:
        """Takes a trial's score after an epoch; whether to give it up.

        Args:
            number: the trial's.
            epoch: from 1.
            score: on the validation images.
            over: whether nothing is left to train anyway.
        """
        # Lanes that begin anew, fewer at a time, are told nothing new.
        if (number, epoch) not in self._verdicts:
            self._catch_up(self._place(number, epoch))
            pruned = self._pruning.tell(number, epoch, score) and not over
            if over or pruned:
                self._pruning.end(number, "pruned" if pruned else "complete", score)
            self._verdicts[number, epoch] = pruned
        return self._verdicts[number, epoch]

    def close(self) -> None:
        """Tells what is left of the finished trials."""
        self._catch_up(None)

    def _catch_up(self, until: tuple[int, int] | None) -> None:
        while self._known and (until is None or self._known[-1].place < until):
            told = self._known.pop()
            self._pruning.tell(told.number, told.epoch, told.score)
            if told.ended is not None:
                self._pruning.end(told.number, told.ended, told.score)

    def _place(self, number: int, epoch: int) -> tuple[int, int]:
        lane = self._lanes[number]
        return (epoch, lane) if self._at_once else (lane, epoch)

    def _told(self, one: Finished) -> list[_Told]:
        number, score = one.trial.number, one.trial.experiment.loss.score.name
        lines = one.lines()
        return [
            _Told(
                self._place(number, line["epoch"]),
                number,
                line["epoch"],
                line[f"val_{score}"],
                None if one.diverged or line is not lines[-1] else one.record["status"],
            )
            for line in lines
        ]


def require_validation(dataset: Dataset) -> None:
    """Refuses data whose trials have nothing to be compared by.

    Raises:
        UserError: no images are held out.
    """
    if not len(dataset.validation):
        raise UserError(
            f"--pruner compares validation scores, and of {dataset.name} no images are held out: "
            "add --validation N"
        )
