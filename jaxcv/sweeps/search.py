"""Which configurations a sweep tries: a grid, or what one of Optuna's samplers suggests.

A search is a function of its seed and of the scores so far: a sweep that was killed goes through
the same rounds again, and those of its trials that are finished answer from their files.
"""

import dataclasses
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from jaxcv.errors import UserError
from jaxcv.extras import require
from jaxcv.sweeps.axes import Axis, Choices, Configuration, Span, configurations, every, size_of

if TYPE_CHECKING:
    import optuna

Strategy = Literal["grid", "random", "qmc", "tpe"]

# Configurations that are suggested before their scores are told. A part of what a search is, not
# of the machine that it runs on.
ROUND = 16

# Suggestions in a row of what has been tried already, after which the sampler is not asked again.
_REPEATS = 100


@dataclasses.dataclass(frozen=True)
class Search:
    """How a sweep chooses its configurations.

    Attributes:
        axes: what varies.
        strategy: every combination of listed values, or a sampler of Optuna's.
        configurations: how many; None for all of a grid.
        seed: of the sampler.
        larger_is_better: of the score.
    """

    axes: Mapping[str, Axis]
    strategy: Strategy
    configurations: int | None
    seed: int
    larger_is_better: bool

    def __post_init__(self):
        if self.strategy == "grid":
            if self.configurations is not None:
                raise UserError(
                    "a grid has the trials that its lists give; --trials is for a --range or "
                    "--search random, qmc or tpe"
                )
            list(configurations(self.axes))
        elif self.configurations is None:
            raise UserError(f"--search {self.strategy} needs --trials N")
        elif not self.axes:
            raise UserError(f"--search {self.strategy} needs a --set or a --range to search")

    @property
    def size(self) -> int:
        """Configurations of all its rounds."""
        asked = self.configurations
        return len(list(configurations(self.axes))) if asked is None else asked


class Told(NamedTuple):
    """What a configuration has come to.

    Attributes:
        score: mean over its seeds; None where one of them has diverged.
        pruned_after: fewest epochs of those seeds that were pruned; None where none was.
    """

    score: float | None
    pruned_after: int | None = None


class Rounds:
    """A search as it goes: rounds of configurations out, their scores in.

    Example:
        >>> rounds = Rounds(Search({"l2": Choices((0.0, 1e-4))}, "grid", None, 0, True))
        >>> rounds.next()
        [{'l2': 0.0}, {'l2': 0.0001}]
        >>> rounds.tell([Told(0.9), Told(0.8)])
        >>> rounds.next()
        []
    """

    def __init__(self, search: Search):
        self._search = search
        if search.strategy == "grid":
            self._left = list(configurations(search.axes))
            return
        self._study = in_memory_study(search)
        self._distributions = {n: distribution(axis) for n, axis in search.axes.items()}
        self._asked: list[optuna.Trial] = []
        self._tried: set[tuple[Any, ...]] = set()
        self._remaining = search.size

    def next(self) -> list[dict[str, Any]]:
        """The next configurations; none when the search is over."""
        if self._search.strategy == "grid":
            found, self._left = self._left, []
            return found
        # A sampler that learns nothing from scores has one round.
        most = ROUND if self._search.strategy == "tpe" else self._remaining
        count = min(most, self._remaining)
        self._remaining -= count
        self._asked = [self._another() for _ in range(count)]
        return [
            {name: _value(axis, trial.params[name]) for name, axis in self._search.axes.items()}
            for trial in self._asked
        ]

    def _another(self) -> "optuna.Trial":
        """A suggestion that has not been made before: its trials would be copies."""
        for _ in range(_REPEATS):
            trial = self._study.ask(self._distributions)
            if math.isinf(size_of(self._search.axes)) or self._is_new(trial.params):
                return trial
            self._study.tell(trial, state=require("optuna", "sweep").trial.TrialState.FAIL)
        rest = (as_categories(self._search.axes, it) for it in every(self._search.axes))
        self._study.enqueue_trial(next(params for params in rest if self._is_new(params)))
        return self._study.ask(self._distributions)

    def _is_new(self, params: Mapping[str, Any]) -> bool:
        key = tuple(params[name] for name in self._search.axes)
        known = key in self._tried
        self._tried.add(key)
        return not known

    def tell(self, found: Sequence[Told]) -> None:
        """What the last round's configurations have come to."""
        if self._search.strategy != "tpe":
            return
        worst = -math.inf if self._search.larger_is_better else math.inf
        for trial, (score, pruned_after) in zip(self._asked, found, strict=True):
            if score is None:
                self._study.tell(trial, worst)
            elif pruned_after is None:
                self._study.tell(trial, score)
            else:
                trial.report(score, pruned_after)
                self._study.tell(trial, state=require("optuna", "sweep").trial.TrialState.PRUNED)


def extremes(search: Search, first: Configuration) -> list[Configuration]:
    """What a search may come to later that depends on scores: each value of each axis in turn.

    Args:
        search: of which the first round is known.
        first: a configuration of it, whose values the other axes keep.
    """
    if search.strategy != "tpe":
        return []
    values = {
        name: axis.values if isinstance(axis, Choices) else (axis.low, axis.high) * axis.whole
        for name, axis in search.axes.items()
    }
    return [{**first, name: value} for name, several in values.items() for value in several]


def in_memory_study(search: Search) -> "optuna.Study":
    """A study with the strategy's sampler that writes nothing anywhere."""
    optuna = require("optuna", "sweep")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = {
            "random": lambda: optuna.samplers.RandomSampler(seed=search.seed),
            "qmc": lambda: optuna.samplers.QMCSampler(
                scramble=True, seed=search.seed, warn_independent_sampling=False
            ),
            "tpe": lambda: optuna.samplers.TPESampler(seed=search.seed, constant_liar=True),
        }[search.strategy]()
    return optuna.create_study(direction=direction(search.larger_is_better), sampler=sampler)


def direction(larger_is_better: bool) -> str:
    """Optuna's word for which way is better."""
    return "maximize" if larger_is_better else "minimize"


def distribution(axis: Axis) -> "optuna.distributions.BaseDistribution":
    """An axis as Optuna has it: lists are categories, named by texts where they are no scalars."""
    optuna = require("optuna", "sweep")
    if isinstance(axis, Choices):
        return optuna.distributions.CategoricalDistribution([name_of(v) for v in axis.values])
    if axis.whole:
        return optuna.distributions.IntDistribution(int(axis.low), int(axis.high), log=axis.log)
    return optuna.distributions.FloatDistribution(axis.low, axis.high, log=axis.log)


def name_of(value: Any) -> Any:
    """A listed value as a category: a list as the command line writes it, anything else as it is.

    Example:
        >>> name_of((64, 64)), name_of(0.1)
        ('64 64', 0.1)
    """
    return " ".join(map(str, value)) if isinstance(value, tuple) else value


def _value(axis: Axis, suggested: Any) -> Any:
    if isinstance(axis, Span):
        return int(suggested) if axis.whole else float(suggested)
    return next(value for value in axis.values if name_of(value) == suggested)


def as_categories(axes: Mapping[str, Axis], configuration: Configuration) -> dict[str, Any]:
    """A configuration as Optuna has it."""
    return {name: name_of(configuration[name]) for name in axes}
