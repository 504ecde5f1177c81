import numpy as np
import pytest

from jaxcv import losses
from jaxcv.models import MODELS
from jaxcv.verification import steps
from jaxcv.verification.precisions import Precision

FLOAT32 = Precision("default", 23)


def rows(name):
    return steps.check_steps(name, dict(steps.experiments())[name], [FLOAT32], deep=False)


def test_every_network_is_there():
    assert {name for name, _ in steps.experiments()} == set(MODELS)


def test_a_step_holds_in_every_mode_and_its_expectation_is_the_one_derived_by_hand():
    found = rows("MLP")
    assert [(row.op, row.mode) for row in found] == [
        ("MLP step traced", "NumPy"),
        ("MLP step", "jit+vmap"),
        ("MLP step", "jit+scan"),
    ]
    assert all(row.ok for row in found)


@pytest.mark.parametrize("name", ["CNN", "Softmax"])
def test_the_traced_step_is_the_one_derived_by_hand(name):
    experiment = dict(steps.experiments())[name]
    lane = steps.lanes_of(experiment)[0]
    (row,) = steps._against_numpy(name, experiment, steps.ExactStep(experiment, lane), lane)
    assert row.ok


def test_a_loss_that_is_not_the_reference_shows(monkeypatch):
    penalty = losses.l2_penalty
    monkeypatch.setattr(losses, "l2_penalty", lambda params: 2 * penalty(params))
    traced = rows("Softmax")[0]
    assert not traced.ok
    assert traced.note == "params/Dense_0/kernel"


def test_a_step_that_is_off_by_a_thousandth_shows(monkeypatch):
    computed = steps._results

    def faulty(*arguments):
        results = computed(*arguments)
        results[1]["params/Dense_0/bias"] = results[1]["params/Dense_0/bias"] * np.float32(1.001)
        return results

    monkeypatch.setattr(steps, "_results", faulty)
    assert [row.ok for row in rows("Softmax")] == [True, False, False]


def test_a_network_that_cannot_be_traced_is_a_row(monkeypatch):
    def refuse(*arguments):
        raise AttributeError("jax has no attribute no_such_function")

    monkeypatch.setattr(steps, "_step", refuse)
    (row,) = rows("Softmax")
    assert not row.ok
    assert "no_such_function" in row.note
