import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcv.errors import UserError
from jaxcv.optimizers import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Constant,
    Momentum,
    Piecewise,
    RMSprop,
    WarmupCosine,
)

STEPS = 5


def sgd(w, g, m, v, t, o):
    return w - o.learning_rate * g, m, v


def momentum(w, g, m, v, t, o):
    m = o.momentum * m + g
    return w - o.learning_rate * (g + o.momentum * m if o.nesterov else m), m, v


def adam(w, g, m, v, t, o):
    m = o.beta1 * m + (1 - o.beta1) * g
    v = o.beta2 * v + (1 - o.beta2) * g**2
    m_hat, v_hat = m / (1 - o.beta1**t), v / (1 - o.beta2**t)
    decay = getattr(o, "weight_decay", 0.0) * w
    return w - o.learning_rate * (m_hat / (np.sqrt(v_hat) + o.epsilon) + decay), m, v


def adagrad(w, g, m, v, t, o):
    v = (o.initial_accumulator if t == 1 else v) + g**2
    return w - o.learning_rate * g / np.sqrt(v + o.epsilon), m, v


def rmsprop(w, g, m, v, t, o):
    v = o.decay * v + (1 - o.decay) * g**2
    return w - o.learning_rate * g / np.sqrt(v + o.epsilon), m, v


RULES = [
    (SGD(0.3), sgd),
    (Momentum(0.3, 0.8), momentum),
    (Momentum(0.3, 0.8, nesterov=True), momentum),
    (Adam(0.1), adam),
    (Adam(0.1, 0.5, 0.6, 0.1), adam),
    (AdamW(0.1, weight_decay=0.2), adam),
    (Adagrad(0.1), adagrad),
    (Adagrad(0.1, 0.5, 0.01), adagrad),
    (RMSprop(0.1), rmsprop),
    (RMSprop(0.1, 0.5, 0.01), rmsprop),
    (AdamW(0.1, 0.5, 0.6, 0.1, 0.0), adam),
]


@pytest.mark.parametrize(("optimizer", "rule"), RULES)
def test_against_the_formula(optimizer, rule, rng):
    gradients = rng.standard_normal((STEPS, 3, 2))
    w = rng.standard_normal((3, 2))
    params = jnp.asarray(w, jnp.float32)
    transform = optimizer.transform(optimizer.learning_rate)
    state = transform.init(params)
    m = v = np.zeros_like(w)
    for t, g in enumerate(gradients, start=1):
        w, m, v = rule(w, g, m, v, t, optimizer)
        updates, state = transform.update(jnp.asarray(g, jnp.float32), state, params)
        params = optax.apply_updates(params, updates)
        np.testing.assert_allclose(np.asarray(params), w, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(("optimizer", "rule"), RULES)
def test_another_number_compiles_nothing(optimizer, rule):
    numbers = {
        name: value
        for name, value in vars(optimizer).items()
        if isinstance(value, float) and not isinstance(value, bool)
    }
    traces = 0

    @jax.jit
    def step(numbers, params):
        nonlocal traces
        traces += 1
        made = type(optimizer)(**{**vars(optimizer), **numbers})
        transform = made.transform(made.learning_rate)
        return transform.update(jnp.ones(2), transform.init(params), params)[0]

    one = step(numbers, jnp.ones(2))
    other = step({name: 0.5 * value for name, value in numbers.items()}, jnp.ones(2))
    assert traces == 1
    assert (np.asarray(one) != np.asarray(other)).all()


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
