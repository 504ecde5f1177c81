"""The trials of a sweep: numbered, grouped by the program that they share, bundled into lanes."""

import dataclasses
import itertools
from collections.abc import Hashable, Iterator, Sequence
from typing import Any, NamedTuple

from jaxcv.experiment import Experiment, split
from jaxcv.sweeps.axes import Configuration, configured


class Trial(NamedTuple):
    """One training of a sweep.

    Attributes:
        number: from 0; the configurations one after another, the seeds of each together.
        configuration: its values of what the sweep varies.
        experiment: the whole.
    """

    number: int
    configuration: Configuration
    experiment: Experiment


def trials_of(
    experiment: Experiment,
    found: Sequence[Configuration],
    seeds: Sequence[int],
    first: int,
) -> list[Trial]:
    """A trial for each configuration and seed.

    Args:
        experiment: what is swept.
        found: configurations.
        seeds: of each configuration; if the configurations name seeds, theirs are taken.
        first: number of the first trial.

    Raises:
        UserError: the values of a configuration do not go together.
    """
    numbers = itertools.count(first)
    return [
        Trial(
            next(numbers),
            configuration,
            configured(dataclasses.replace(experiment, seed=seed), configuration),
        )
        for configuration in found
        for seed in seeds
    ]


def data_of(experiment: Experiment) -> tuple[Any, ...]:
    """What decides which data an experiment trains on: the arguments of `jaxcv.data.load`."""
    it = experiment
    return it.data, it.data_dir, it.data_seed, it.validation, it.data_file, it.data_key


def program_of(experiment: Experiment) -> Hashable:
    """Equal for experiments that run through the same compiled programs on the same data."""
    static, _ = split(experiment)
    return static, data_of(experiment)


def bundles(trials: Sequence[Trial], lanes: int) -> Iterator[list[Trial]]:
    """Trials that share their programs and their number of epochs, at most so many at once.

    What may share a program stays together, so that each is loaded once.
    """
    groups: dict[Hashable, list[Trial]] = {}
    for trial in trials:
        key = (program_of(trial.experiment), trial.experiment.epochs)
        groups.setdefault(key, []).append(trial)
    for group in groups.values():
        for start in range(0, len(group), lanes):
            yield group[start : start + lanes]
