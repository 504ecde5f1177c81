"""A trial among others against the same trial alone."""

import dataclasses
import functools
import itertools
import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcv import (
    SGD,
    Adam,
    CrossEntropy,
    Experiment,
    Momentum,
    Piecewise,
    RandomFlip,
    models,
    training,
)
from jaxcv.course import Numbers
from jaxcv.programs import Program, prepare
from jaxcv.results import params_sha256
from jaxcv.sweeps import trainer
from jaxcv.sweeps.in_turn import in_turn
from jaxcv.sweeps.lanes import Lane, Stopped
from jaxcv.sweeps.together import together
from jaxcv.sweeps.trials import Trial
from tests import tiny

DATA = tiny.dataset()
WIDTH = 3

KINDS = {
    "dense": Experiment(
        model=models.MLP((6,), num_classes=4), optimizer=Adam(), batch_size=9, epochs=2
    ),
    "convolution": Experiment(
        model=models.CNNBatchNorm((3, 3), num_classes=4),
        optimizer=Momentum(),
        schedule=Piecewise((1.0,), (0.5,)),
        augmentation=(RandomFlip(),),
        batch_size=9,
        epochs=2,
    ),
    "dropout": Experiment(
        model=models.MLP((6,), num_classes=4), optimizer=SGD(), batch_size=9, epochs=2, patience=1
    ),
}


@functools.cache
def prepared(name: str) -> Program:
    return prepare(KINDS[name], DATA)


def alone(experiment: Experiment, program: Program) -> str:
    """The hash of the parameters that a lone run's programs end with, in chunks of one step."""
    mine = program.with_numbers(experiment)
    state = mine.initial_state(experiment.seed)
    one = np.int32(1)
    for epoch in range(int(experiment.epochs)):
        order = mine.order(state, epoch)
        for _ in range(mine.steps_per_epoch):
            state = training.train_chunk(mine.static, state, mine.data, order, mine.hyper, one)
    return params_sha256(state.params, state.batch_stats)


def numbers(learning_rate: float, l2: float, smoothing: float, seed: int, it: Experiment):
    return dataclasses.replace(
        it,
        seed=seed,
        loss=CrossEntropy(smoothing, l2),
        optimizer=tiny.with_settings(it.optimizer, learning_rate=learning_rate),
    )


LANES = st.lists(
    st.builds(
        functools.partial,
        st.just(numbers),
        st.floats(1e-5, 0.2),
        st.floats(0, 0.1),
        st.floats(0, 0.5),
        st.integers(0, 2**32 - 1),
    ),
    min_size=1,
    max_size=WIDTH,
)


@pytest.mark.parametrize("name", ["dense", "convolution"])
@settings(max_examples=8)
@given(lanes=LANES)
def test_one_after_another_ends_with_the_bits_of_a_lone_run(name, lanes):
    program = prepared(name)
    experiments = [lane(KINDS[name]) for lane in lanes]
    for experiment, outcome in zip(
        experiments, in_turn(program, DATA, experiments, lambda: 0), strict=True
    ):
        assert outcome.record["params_sha256"] == alone(experiment, program)
        assert [line["epoch"] for line in outcome.lines] == [1, 2]


@pytest.mark.parametrize("name", ["dense", "convolution"])
@settings(max_examples=8)
@given(lanes=LANES)
def test_all_at_once_agree_with_lone_runs(name, lanes):
    """After an epoch of four steps, to what float32 sums in another order allow.

    A step's gradient is a sum over 9 examples of at most 60 terms each; with a relative error of
    γ = 600·2⁻²⁴ = 4e-5 in each, rates below 0.2 and gradients below 10 on these data, four steps
    move a parameter by less than 4·0.2·10·4e-5 = 3e-4 from where it should be. Adam divides by the
    gradient's own size: an update is off by the relative error alone where the gradient is not
    itself a rounding error, so its bound holds in the mean over parameters.
    """
    program = prepared(name)
    experiments = [dataclasses.replace(lane(KINDS[name]), epochs=1) for lane in lanes]
    one = list(in_turn(program, DATA, experiments, lambda: 0))
    all_of_them = list(together(program, DATA, experiments, lambda: 0, WIDTH))
    assert len(all_of_them) == len(experiments)
    for a, b in zip(one, all_of_them, strict=True):
        for x, y in zip(jax.tree.leaves(a.params), jax.tree.leaves(b.params), strict=True):
            assert np.mean(np.abs(x - y)) < 3e-4
        assert a.lines[0]["train_loss"] == pytest.approx(b.lines[0]["train_loss"], rel=1e-4)


@pytest.mark.parametrize("run", [in_turn, functools.partial(together, width=WIDTH)])
def test_a_lane_that_diverges_touches_no_other(run):
    base = KINDS["dense"]
    calm = [
        dataclasses.replace(base, optimizer=SGD(0.01), seed=0),
        dataclasses.replace(base, optimizer=SGD(0.02), seed=1),
    ]
    program = prepare(calm[0], DATA)
    # One leaves the finite numbers; the other stays, with a loss that is no longer one.
    wild = [dataclasses.replace(base, optimizer=SGD(rate), seed=2) for rate in (1e30, 1e6)]
    without = list(run(program, DATA, calm, lambda: 0))
    first, *burnt, last = run(program, DATA, [calm[0], *wild, calm[1]], lambda: 0)
    assert [one.record["status"] for one in burnt] == ["diverged", "diverged"]
    assert [one.record["test_accuracy"] for one in burnt] == [None, None]
    assert [first.record["status"], last.record["status"]] == ["complete", "complete"]
    for one, other in zip(without, (first, last), strict=True):
        assert one.record["params_sha256"] == other.record["params_sha256"]


def test_a_lane_that_diverges_leaves_the_best_there_were():
    lane = Lane(KINDS["dense"], DATA, lambda epoch, score, over: False)
    good, bad = (
        {"loss": np.float32(loss), "correct": np.int32(3), "count": np.int32(9)}
        for loss in (9.0, np.nan)
    )
    lane.after(Numbers(1, 4, good, good, {}, 1.0, 36), 4, lambda: ({"w": np.ones(2)}, {}))
    lane.after(Numbers(2, 8, bad, good, {}, 1.0, 36), 4, lambda: ({"w": np.full(2, np.nan)}, {}))
    facts = {"compile_seconds": 0.0, "seconds": 2.0, "busy": 2.0}
    outcome = lane.outcome({"plain": bad}, **facts)
    assert lane.over
    assert outcome.record["status"] == "diverged"
    assert outcome.record["epochs"] == len(outcome.lines) == 1
    assert np.array_equal(outcome.params["w"], np.ones(2))


@pytest.mark.parametrize("run", [in_turn, functools.partial(together, width=WIDTH)])
def test_a_lane_that_stops_early_keeps_its_own(run):
    """With a rate of almost nothing the score never improves: over after 1 + patience epochs."""
    base = dataclasses.replace(KINDS["dropout"], epochs=6)
    still = dataclasses.replace(base, optimizer=SGD(1e-30))
    moving = dataclasses.replace(base, optimizer=SGD(0.1), seed=1, patience=6)
    program = prepare(base, DATA)
    stopped, other = run(program, DATA, [still, moving], lambda: 0)
    assert stopped.record["epochs"] == 2
    assert stopped.record["best_epoch"] == 1
    if run is in_turn:
        shorter = dataclasses.replace(still, epochs=2)
        assert stopped.record["params_sha256"] == alone(shorter, program)
    best = stopped.lines[0]["val_accuracy"]
    assert stopped.record["val_accuracy"] == best == stopped.lines[1]["val_accuracy"]
    assert other.record["epochs"] > 2


@pytest.mark.parametrize("run", [in_turn, functools.partial(together, width=WIDTH)])
@pytest.mark.parametrize("patience", [None, 2])
def test_the_parameters_that_are_left_are_those_of_the_scores(run, patience):
    """Where rates are so large that the last epoch is not the best."""
    base = dataclasses.replace(KINDS["dense"], optimizer=SGD(1.0), epochs=6, patience=patience)
    program = prepare(base, DATA)
    seeds = [dataclasses.replace(base, seed=seed) for seed in range(3)]
    outcomes = list(run(program, DATA, seeds, lambda: 0))
    assert any(one.record["best_epoch"] < one.record["epochs"] for one in outcomes)
    for one in outcomes:
        ended = params_sha256(one.params, one.batch_stats) == one.record["params_sha256"]
        assert ended == (patience is None or one.record["best_epoch"] == one.record["epochs"])
        for split, field in (("validation", "val_accuracy"), ("test", "test_accuracy")):
            totals = program.evaluate(one.params, one.batch_stats, split)
            score = base.loss.metrics(jax.device_get(totals))["accuracy"]
            assert score == one.record[field]


@pytest.mark.parametrize("run", [in_turn, functools.partial(together, width=WIDTH)])
def test_a_signal_stops_between_chunks(run):
    asked = itertools.count()
    with pytest.raises(Stopped):
        list(run(prepared("dense"), DATA, [KINDS["dense"]] * 3, lambda: next(asked) >= 2))


def test_rates_seeds_and_short_bundles_compile_nothing_new():
    """32 learning rates × 3 seeds: one train chunk and one evaluation, whatever the mode."""
    base = KINDS["dense"]
    sweep = [
        dataclasses.replace(base, optimizer=Adam(rate), seed=seed)
        for rate in np.logspace(-5, -1, 32)
        for seed in range(3)
    ]
    program = prepare(base, DATA)
    list(in_turn(program, DATA, sweep[:1], lambda: 0))
    list(together(program, DATA, sweep[:2], lambda: 0, WIDTH))
    with tiny.compilations() as compiled:
        assert len(list(in_turn(program, DATA, sweep, lambda: 0))) == 96
        for start in (0, 1, 2):
            list(together(program, DATA, sweep[start : start + 1 + start], lambda: 0, WIDTH))
    assert compiled == []


def test_the_programs_of_a_sweep_are_counted(monkeypatch):
    """The test above would notice: the first bundle compiles each program once."""
    base = dataclasses.replace(KINDS["dense"], model=models.MLP((7,), num_classes=4))
    program = prepare(base, DATA)
    with tiny.compilations() as compiled:
        list(in_turn(program, DATA, [base], lambda: 0))
    assert sum("train_chunk" in name for name in compiled) == 1
    assert sum("evaluate" in name for name in compiled) == 1
    with tiny.compilations() as compiled:
        list(together(program, DATA, [base, base], lambda: 0, WIDTH))
    assert sum("train_lanes" in name for name in compiled) == 1
    assert sum("evaluate_lanes" in name for name in compiled) == 1


def test_lanes_are_halved_where_there_is_no_room(monkeypatch):
    """An allocation is refused for more than one lane: two halvings, and no lane is lost."""
    real, widths = trainer.together, []

    def cramped(program, dataset, experiments, signalled, width, watch):
        widths.append(width)
        if width > 1:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating")
        return real(program, dataset, experiments, signalled, width, watch)

    monkeypatch.setattr(trainer, "together", cramped)
    notes: list[str] = []
    mine = trainer.Trainer("vmap", 4, verify=False, note=notes.append)
    base = Experiment(model=models.MLP((8,)), optimizer=Adam(), epochs=1)
    sweep = [Trial(i, {}, dataclasses.replace(base, seed=i)) for i in range(3)]
    found = list(mine.train(sweep))
    assert [trial.number for trial, _, _ in found] == [0, 1, 2]
    assert len({outcome.record["params_sha256"] for _, outcome, _ in found}) == 3
    assert widths == [4, 2, 1, 1, 1]
    assert len(notes) == 2


@pytest.mark.every_script
def test_lanes_are_spread_over_devices():
    """Eight virtual devices, five lanes: what one device computes, but for the order of sums."""
    code = """
import dataclasses, jax, sys
from jaxcv import Adam, Experiment, models
from jaxcv.sweeps.trainer import Trainer
from jaxcv.sweeps.trials import Trial
base = Experiment(model=models.MLP((8,)), optimizer=Adam(), epochs=2)
trials = [Trial(i, {}, dataclasses.replace(base, seed=i)) for i in range(5)]
assert len(jax.devices()) == int(sys.argv[1])
for _, outcome, _ in Trainer("vmap", 5, verify=False).train(trials):
    print(outcome.lines[0]["train_loss"])
"""
    losses = []
    for devices in (1, 8):
        done = subprocess.run(
            [sys.executable, "-c", code, str(devices)], capture_output=True, text=True, check=True,
            env=os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"},
        )  # fmt: skip
        losses.append([float(line) for line in done.stdout.split()])
    assert len(set(losses[0])) == 5
    # Means over 1,280 examples after at most ten steps of Adam, in float32.
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
