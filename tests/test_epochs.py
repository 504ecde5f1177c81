from typing import Any

import jax
import numpy as np
import pytest

from jaxcv import training
from jaxcv.epochs import Orders, Pace, run_epoch
from jaxcv.fitting import fit
from jaxcv.programs import Program, prepare
from jaxcv.sweeps.in_turn import in_turn
from tests import tiny
from tests.tiny import experiment

DATA = tiny.dataset()


def test_inside_an_epoch_nothing_crosses_between_host_and_device(monkeypatch):
    program = prepare(experiment(), DATA)
    pace = Pace(limit=program.steps_per_epoch)
    state = program.initial_state(0)
    order = program.order(state, 0)
    state, _ = list(run_epoch(program, state, order, 0, pace))[-1]
    order = program.order(state, 1)
    fetched, dispatched = [], []
    array: Any = type(state.step)
    value = array._value
    monkeypatch.setattr(
        array, "_value", property(lambda self: fetched.append(1) or value.fget(self))
    )
    chunk = training.train_chunk
    monkeypatch.setattr(training, "train_chunk", lambda *a: dispatched.append(1) or chunk(*a))
    with jax.transfer_guard("disallow_explicit"), tiny.compilations() as compiled:
        state, done = list(run_epoch(program, state, order, 0, pace))[-1]
    assert (len(dispatched), fetched, compiled) == (1, [], [])
    assert done == program.steps_per_epoch
    # The instruments work: each of these is seen.
    assert int(state.step) == 2 * program.steps_per_epoch
    assert fetched
    with jax.transfer_guard("disallow_explicit"), pytest.raises(Exception, match="Disallowed"):
        jax.device_put(np.zeros(3))


def test_an_epoch_takes_as_many_dispatches_as_it_has_chunks(monkeypatch):
    program = prepare(experiment(batch_size=2), DATA)
    assert program.steps_per_epoch == 18
    dispatched = []
    chunk = training.train_chunk
    monkeypatch.setattr(training, "train_chunk", lambda *a: dispatched.append(1) or chunk(*a))
    monkeypatch.setattr("jaxcv.epochs._CHUNK_SECONDS", 1e9)
    pace = Pace()
    state = program.initial_state(0)
    seen = []
    for state, done in run_epoch(program, state, program.order(state, 0), 0, pace):  # noqa: B020
        assert int(state.step) == done
        seen.append(done)
    assert seen == [1, 3, 7, 15, 18]
    second = run_epoch(program, state, program.order(state, 1), 0, pace)
    assert [done for _, done in second] == [18]
    assert len(dispatched) == 6


def test_what_is_done_meanwhile_is_done_once_before_the_first_chunk_is_waited_for(monkeypatch):
    program = prepare(experiment(batch_size=2), DATA)
    events: list[Any] = []
    chunk = training.train_chunk
    monkeypatch.setattr(training, "train_chunk", lambda *a: events.append("chunk") or chunk(*a))
    state, order = program.initial_state(0), program.order_of(jax.random.key(0), 0)
    pace = Pace(limit=9)
    for _, done in run_epoch(program, state, order, 0, pace, None, lambda: events.append("mean")):
        events.append(done)
    assert events == ["chunk", "mean", 9, "chunk", 18]


def test_orders_are_the_same_whether_prepared_or_not():
    program = prepare(experiment(), DATA)
    state = program.initial_state(5)
    orders = Orders(program, 5, total=4 * program.steps_per_epoch)
    expected = [np.asarray(program.order(state, epoch)) for epoch in range(4)]
    np.testing.assert_array_equal(orders.of(2), expected[2])
    orders.prepare(3)
    np.testing.assert_array_equal(orders.of(3), expected[3])
    # Another one than was prepared: a run that is resumed elsewhere.
    orders.prepare(1)
    np.testing.assert_array_equal(orders.of(0), expected[0])


def test_each_order_is_computed_once_and_while_the_epoch_before_it_trains(monkeypatch, tmp_path):
    """In a run and in a lane of a sweep; none for an epoch that does not come."""
    events: list[Any] = []
    chunk, order_of = training.train_chunk, Program.order_of
    monkeypatch.setattr(training, "train_chunk", lambda *a: events.append("chunk") or chunk(*a))
    monkeypatch.setattr(
        Program, "order_of", lambda self, key, e: events.append(e) or order_of(self, key, e)
    )
    monkeypatch.setattr("jaxcv.epochs._CHUNK_SECONDS", 0.0)
    monkeypatch.setattr("jaxcv.fitting.load_data", lambda *arguments: DATA)
    it = experiment(epochs=3, batch_size=32)
    # Compiling takes an order and a chunk of no steps.
    expected = [0, "chunk", 0, "chunk", 1, "chunk", 2, "chunk"]
    fit(it, tmp_path / "run", verify=False)
    assert events == expected
    events.clear()
    list(in_turn(prepare(it, DATA), DATA, [it], lambda: 0))
    assert events == expected


def test_the_one_order_of_all_images_is_computed_once(monkeypatch):
    program = prepare(experiment(batch_size=None), DATA)
    epochs: list[int] = []
    order_of = Program.order_of
    monkeypatch.setattr(
        Program, "order_of", lambda self, key, e: epochs.append(e) or order_of(self, key, e)
    )
    orders = Orders(program, 5, total=3)
    for epoch in range(3):
        np.testing.assert_array_equal(orders.of(epoch), [DATA.train])
        orders.prepare(epoch + 1)
    assert epochs == [0]
