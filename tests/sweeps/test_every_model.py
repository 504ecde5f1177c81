"""A trial of a sweep against the same trial alone: every network, any hyperparameters."""

import contextlib
import dataclasses
import functools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcv import Experiment, UserError, training
from jaxcv.constraints import is_numeric
from jaxcv.data.dataset import Dataset
from jaxcv.experiment import flat_settings, replace_settings
from jaxcv.programs import Program, prepare
from jaxcv.results import params_sha256
from jaxcv.sweeps.in_turn import copied, in_turn
from jaxcv.sweeps.together import lane_of, stacked, train_lanes
from jaxcv.verification.bounds import FLOAT32
from jaxcv.verification.steps import ExactStep, Lane, expected_step, experiments
from tests import tiny

pytestmark = pytest.mark.every_script

WIDTH = 2
EXPERIMENTS = dict(experiments())
ONE = np.int32(1)


@functools.cache
def prepared(name: str) -> tuple[Program, Dataset]:
    """The programs of a network on as small images as it takes: two steps an epoch."""
    for size in (8, 16, 32):
        with contextlib.suppress(UserError):
            data = tiny.dataset(19, 3, 3, (size, size, 3), classes=10)
            return prepare(EXPERIMENTS[name], data), data
    raise AssertionError(f"{name} takes no images")


def drawn_lanes(data: st.DataObject, experiment: Experiment) -> list[Experiment]:
    """The experiment with any seeds and any numbers: a quarter of each up to the whole of it.

    A penalty, a rate of dropout and the like that are 0 are up to 0.3; learning rates spread over
    three decades.
    """
    drawn = {
        (path, name): st.floats(value / 4, value) if value else st.floats(0, 0.3)
        for path, name, value, hint in flat_settings(experiment)
        if is_numeric(hint) and isinstance(value, float)
    }
    drawn["optimizer", "learning_rate"] = st.floats(-4, -1).map(lambda power: 10.0**power)
    drawn["", "seed"] = st.integers(0, 2**32 - 1)
    lanes = st.lists(st.fixed_dictionaries(drawn), min_size=WIDTH, max_size=WIDTH)
    return [replace_settings(experiment, values) for values in data.draw(lanes)]


@pytest.mark.parametrize("name", EXPERIMENTS)
@settings(max_examples=3)
@given(data=st.data())
def test_one_after_another_ends_with_the_bits_of_a_lone_run(name, data):
    program, dataset = prepared(name)
    it = dataclasses.replace(EXPERIMENTS[name], epochs=2)
    lanes = drawn_lanes(data, it)
    for lane, outcome in zip(lanes, in_turn(program, dataset, lanes, lambda: 0), strict=True):
        mine = program.with_numbers(lane)
        state = mine.initial_state(lane.seed)
        for epoch in range(2):
            order = mine.order(state, epoch)
            for _ in range(mine.steps_per_epoch):
                state = training.train_chunk(mine.static, state, mine.data, order, mine.hyper, ONE)
        assert outcome.record["params_sha256"] == params_sha256(state.params, state.batch_stats)


@pytest.mark.parametrize("name", EXPERIMENTS)
@settings(max_examples=2)
@given(data=st.data())
def test_all_at_once_agree_with_lone_runs_after_a_chunk(name, data):
    """Each is within the bound of the step in float64, so both within twice that of each other.

    The bound is `jaxcv.verification.steps`': what the step moves by where its parameters are moved
    by the relative error of its longest sum, the derived γ̃.
    """
    program, _ = prepared(name)
    drawn = drawn_lanes(data, EXPERIMENTS[name])
    mine = [program.with_numbers(experiment) for experiment in drawn]
    states = [m.initial_state(e.seed) for m, e in zip(mine, drawn, strict=True)]
    orders = [m.order(state, 0) for m, state in zip(mine, states, strict=True)]
    bounds = []
    for experiment, state, order in zip(drawn, states, orders, strict=True):
        params = jax.tree.map(np.asarray, state.params)
        lane = Lane(state._replace(params=params), program.data, order)
        bounds.append(expected_step(ExactStep(experiment, lane), lane, FLOAT32, seed=0))
    # The first chunk of every run has one step. The states are donated.
    hypers, step = stacked([m.hyper for m in mine]), copied(states[0]).step
    lanes = stacked(states)._replace(step=step)
    lanes = train_lanes(program.static, lanes, program.data, stacked(orders), hypers, ONE)
    for i, (m, state, order, bound) in enumerate(zip(mine, states, orders, bounds, strict=True)):
        alone = training.train_chunk(m.static, state, m.data, order, m.hyper, ONE)
        for kind in ("params", "batch_stats", "totals"):
            one = jax.tree_util.tree_leaves_with_path(getattr(alone, kind))
            other = jax.tree.leaves(lane_of(getattr(lanes, kind), i))
            for (path, x), y in zip(one, other, strict=True):
                leaf = f"{kind}/{jax.tree_util.keystr(path, simple=True, separator='/')}"
                assert np.all(np.abs(np.float64(x) - np.float64(y)) <= 2 * bound[leaf].error), leaf
