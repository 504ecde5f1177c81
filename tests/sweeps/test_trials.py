"""Trials in bundles: what shares a program is trained together."""

import dataclasses

from jaxcv import Adam, Experiment, models
from jaxcv.sweeps.trials import Trial, bundles

BASE = Experiment(model=models.MLP((8,)), optimizer=Adam(), epochs=1)
WIDE = dataclasses.replace(BASE, model=models.MLP((9,)))


def numbered(*experiments: Experiment) -> list[Trial]:
    return [Trial(i, {}, experiment) for i, experiment in enumerate(experiments)]


def found(trials: list[Trial], lanes: int) -> list[tuple[list[int], int]]:
    return [([trial.number for trial in some], width) for some, width in bundles(trials, lanes)]


def test_trials_of_one_program_stay_together():
    assert found(numbered(BASE, WIDE, BASE, WIDE, BASE), 2) == [([0, 2], 2), ([4], 2), ([1, 3], 2)]


def test_a_program_has_no_more_lanes_than_it_has_trials():
    """Three seeds where sixteen would go: thirteen copies would be computed for nothing."""
    assert found(numbered(*[BASE] * 3, WIDE), 16) == [([0, 1, 2], 3), ([3], 1)]


def test_trials_of_other_lengths_share_the_program_and_its_width():
    longer = dataclasses.replace(BASE, epochs=2)
    assert found(numbered(BASE, BASE, BASE, longer), 16) == [([0, 1, 2], 3), ([3], 3)]


def test_numbers_and_seeds_are_no_other_program():
    trials = [dataclasses.replace(BASE, seed=i, optimizer=Adam(10.0**-i)) for i in range(4)]
    assert found(numbered(*trials), 3) == [([0, 1, 2], 3), ([3], 3)]
