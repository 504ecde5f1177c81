import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcv.optimizers import SGD, Adagrad, Adam, AdamW, Momentum, RMSprop

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
