"""Trials in bundles: what shares a program is trained together."""

import dataclasses

from jaxcv import Adam, Experiment, models
from jaxcv.sweeps.trials import Trial, bundles

BASE = Experiment(model=models.MLP((8,)), optimizer=Adam(), epochs=1)
WIDE = dataclasses.replace(BASE, model=models.MLP((9,)))


def numbered(*experiments: Experiment) -> list[Trial]:
    return [Trial(i, {}, experiment) for i, experiment in enumerate(experiments)]


def found(trials: list[Trial], lanes: int) -> list[list[int]]:
    return [[trial.number for trial in some] for some in bundles(trials, lanes)]


def test_trials_of_one_program_stay_together():
    assert found(numbered(BASE, WIDE, BASE, WIDE, BASE), 2) == [[0, 2], [4], [1, 3]]


def test_trials_of_other_lengths_are_no_lanes_of_one_bundle():
    longer = dataclasses.replace(BASE, epochs=2)
    assert found(numbered(BASE, longer, BASE, BASE), 16) == [[0, 2, 3], [1]]


def test_numbers_and_seeds_are_no_other_program():
    trials = [dataclasses.replace(BASE, seed=i, optimizer=Adam(10.0**-i)) for i in range(4)]
    assert found(numbered(*trials), 3) == [[0, 1, 2], [3]]
