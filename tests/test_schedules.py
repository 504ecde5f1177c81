import math

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv.errors import UserError
from jaxcv.schedules import Constant, Piecewise, WarmupCosine, WarmupLinear, total_steps


def factor(schedule, step, steps_per_epoch=391, epochs=150.0) -> float:
    return float(schedule.factor(jnp.int32(step), steps_per_epoch, epochs))


def test_constant_is_one():
    assert [factor(Constant(), step) for step in (0, 7, 10**6)] == [1, 1, 1]


def test_piecewise_changes_at_the_first_step_of_the_epoch():
    schedule = Piecewise((80.0, 120.0), (0.1, 0.01))
    for epoch, before, after in ((80, 1.0, 0.1), (120, 0.1, 0.01)):
        assert factor(schedule, epoch * 391 - 1) == pytest.approx(before)
        assert factor(schedule, epoch * 391) == pytest.approx(after)
    assert factor(schedule, 0) == 1
    assert factor(schedule, 10**6) == pytest.approx(0.01)
    assert factor(Piecewise(), 5) == 1
    assert factor(Piecewise((0.0,), (0.5,)), 0) == 0.5


def test_piecewise_boundaries_may_lie_within_an_epoch():
    schedule = Piecewise((0.5,), (0.0,))
    assert [factor(schedule, step, 10) for step in (4, 5)] == [1, 0]


@pytest.mark.parametrize(
    ("boundaries", "factors"), [((1.0,), ()), ((), (1.0,)), ((2.0, 1.0), (1.0, 1.0))]
)
def test_piecewise_refuses_what_does_not_fit(boundaries, factors):
    with pytest.raises(UserError):
        Piecewise(boundaries, factors)


def test_warmup_rises_in_equal_steps_to_the_base_rate():
    schedule = WarmupCosine(warmup_epochs=2.0)
    got = [factor(schedule, step, 10, 10.0) for step in range(20)]
    np.testing.assert_allclose(got, np.arange(1, 21) / 20, rtol=1e-6)
    assert factor(schedule, 20, 10, 10.0) == 1


def test_the_cosine_falls_to_the_final_factor():
    schedule = WarmupCosine(warmup_epochs=2.0, final_factor=0.2)
    for step in (20, 35, 60, 99, 100):
        share = (step - 20) / 80
        expected = 0.2 + 0.8 * 0.5 * (1 + math.cos(math.pi * share))
        assert factor(schedule, step, 10, 10.0) == pytest.approx(expected, rel=1e-5)
    assert factor(schedule, 10**6, 10, 10.0) == pytest.approx(0.2)
    assert factor(WarmupCosine(), 0, 10, 10.0) == 1


@pytest.mark.parametrize("warmup", [0.05, 0.15, 0.25, 1.01])
def test_a_warmup_of_broken_steps_never_exceeds_the_base_rate(warmup):
    got = [factor(WarmupCosine(warmup), step, 10, 5.0) for step in range(50)]
    assert max(got) <= 1
    assert min(got) >= 0


def test_a_warmup_longer_than_the_run_still_rises():
    got = [factor(WarmupCosine(9.0), step, 10, 5.0) for step in range(50)]
    assert got == sorted(got)
    assert 0 < got[0] < got[-1] < 1


@pytest.mark.parametrize("steps_per_epoch", [1, 3, 48, 391, 50_000])
def test_a_run_has_the_steps_that_its_epochs_begin(steps_per_epoch):
    for epochs in (1, 2, 150):
        assert total_steps(steps_per_epoch, float(epochs)) == epochs * steps_per_epoch
    assert total_steps(48, 9.9) == 476
    # 11 in decimal fractions, a little more in binary ones.
    assert total_steps(10, 1.1) == 11
    assert total_steps(3, 1.5) == 5


@pytest.mark.parametrize("epochs", [9.9, 2.0])
def test_linear_schedule_is_the_polygon_of_its_corners(epochs):
    total = int(total_steps(48, epochs))
    schedule = WarmupLinear(warmup=0.23, initial_factor=0.2, final_factor=0.07)
    got = [factor(schedule, step, 48, epochs) for step in range(total + 1)]
    expected = np.interp(np.arange(total + 1), [0, int(0.23 * total), total], [0.2, 1, 0.07])
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_linear_schedule_without_warm_up_falls_from_the_start():
    got = [factor(WarmupLinear(), step, 5, 2.0) for step in range(11)]
    np.testing.assert_allclose(got, 1 - np.arange(11) / 10, atol=1e-6)
