"""Rules that treat groups of parameters differently, against the formulas written out in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcv.grouped import LookaheadSGD, Muon, groups
from jaxcv.schedules import Position

STEPS, PER_EPOCH = 11, 3
SHAPES = {
    "Conv_0": {"kernel": (3, 3, 2, 5)},
    "Dense_0": {"kernel": (4, 3)},
    "BatchNorm_0": {"bias": (5,)},
    "Whitening_0": {"bias": (6,)},
}
NAMES = {"Conv_0": "kernel", "Dense_0": "kernel", "BatchNorm_0": "bias", "Whitening_0": "bias"}


def drawn(rng: np.random.Generator) -> dict:
    return jax.tree.map(
        lambda shape: rng.standard_normal(shape), SHAPES, is_leaf=lambda x: isinstance(x, tuple)
    )


def factor(step: int) -> float:
    """Of some schedule."""
    return 1 - step / (2 * STEPS)


def trained(rule, start: dict, gradients: list[dict], stats: list[dict]) -> tuple[dict, dict]:
    """Parameters and statistics after all steps, compiled once."""
    traces = 0

    @jax.jit
    def step(params, statistics, state, gradient, moved, number, rate):
        nonlocal traces
        traces += 1
        transform = optax.with_extra_args_support(rule.transform(rate, ({}, statistics)))
        position = Position(number, PER_EPOCH, jnp.int32(STEPS))
        updates, state = transform.update(
            gradient, state, params, position=position, batch_stats=moved, value=0.0
        )
        return optax.apply_updates(params, updates), rule.statistics(state, moved), state

    with jax.enable_x64(True):
        params, statistics = jax.tree.map(jnp.asarray, (start, stats[0]))
        state = rule.transform(0.0, ({}, statistics)).init(params)
        state = jax.tree.map(lambda x: jnp.asarray(x, x.dtype), state)
        for number, (gradient, change) in enumerate(zip(gradients, stats[1:], strict=True)):
            # As a network would move them: on from where the last step left them.
            moved = jax.tree.map(lambda s, c: 0.5 * s + c, statistics, change)
            params, statistics, state = step(
                params,
                statistics,
                state,
                jax.tree.map(jnp.asarray, gradient),
                moved,
                jnp.int32(number),
                rule.learning_rate * factor(number),
            )
        assert traces == 1
        return jax.device_get((params, statistics))


def nesterov(w, g, v, rate, base, decay, momentum):
    d = g + decay / base * w
    v[...] = momentum * v + d
    return w - rate * (d + momentum * v)


def test_the_groups():
    assert groups(jax.tree.map(jnp.zeros, SHAPES, is_leaf=lambda x: isinstance(x, tuple))) == {
        "Conv_0": {"kernel": "convolution"},
        "Dense_0": {"kernel": "dense"},
        "BatchNorm_0": {"bias": "bias"},
        "Whitening_0": {"bias": "whitening"},
    }


@pytest.mark.parametrize("interval", [5, 1, 11, 50])
def test_lookahead_sgd(rng, interval):
    rule = LookaheadSGD(
        0.02, 0.7, weight_decay=3e-3, bias_factor=8.0, whitening_epochs=1.5,
        lookahead_interval=interval, lookahead_decay=0.8,
    )  # fmt: skip
    start, gradients = drawn(rng), [drawn(rng) for _ in range(STEPS)]
    stats = [{"BatchNorm_0": {"mean": rng.standard_normal(5)}} for _ in range(STEPS + 1)]
    params, statistics = trained(rule, start, gradients, stats)

    w = {name: start[name][kind].copy() for name, kind in NAMES.items()}
    v = {name: np.zeros_like(x) for name, x in w.items()}
    mean = stats[0]["BatchNorm_0"]["mean"]
    slow, slow_mean = {name: x.copy() for name, x in w.items()}, mean
    for step in range(STEPS):
        for name, kind in NAMES.items():
            base = 0.02 * (8 if name == "BatchNorm_0" else 1)
            moved = nesterov(
                w[name], gradients[step][name][kind], v[name], base * factor(step), base, 3e-3, 0.7
            )
            # One and a half epochs of three steps: five of them are begun.
            if name != "Whitening_0" or step < 5:
                w[name] = moved
        mean = 0.5 * mean + stats[step + 1]["BatchNorm_0"]["mean"]
        done = step + 1
        if done % interval == 0:
            keep = 0.8 * (done / STEPS) ** 3
            slow = {name: keep * slow[name] + (1 - keep) * w[name] for name in w}
            slow_mean = keep * slow_mean + (1 - keep) * mean
        if done % interval == 0 or done == STEPS:
            w, mean = {name: x.copy() for name, x in slow.items()}, slow_mean
    # The share of the steps that are done is a float32, and so is what an average keeps: its cube
    # is off by 3·2⁻²⁴ of itself, times 0.8 and a difference of 3 or so: 4e-7 an average, and each
    # average takes a part of what those before it have left.
    for name, kind in NAMES.items():
        np.testing.assert_allclose(params[name][kind], w[name], atol=1e-6, err_msg=name)
    np.testing.assert_allclose(statistics["BatchNorm_0"]["mean"], mean, atol=1e-6)


def orthogonalised(matrix: np.ndarray, steps: int) -> np.ndarray:
    """The polynomial of the iteration, applied to the singular values."""
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    s = s / np.sqrt(np.sum(s**2))
    for _ in range(steps):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return u * s @ vt


@pytest.mark.parametrize("iterations", [1, 3])
def test_muon(rng, iterations):
    rule = Muon(
        0.2, 0.6, iterations, dense_learning_rate=0.5, bias_learning_rate=0.05, sgd_momentum=0.8,
        weight_decay=4e-3, whitening_epochs=2.0,
    )  # fmt: skip
    start, gradients = drawn(rng), [drawn(rng) for _ in range(STEPS)]
    params, statistics = trained(rule, start, gradients, [{}] * (STEPS + 1))
    assert statistics == {}

    w = {name: start[name][kind].copy() for name, kind in NAMES.items()}
    v = {name: np.zeros_like(x) for name, x in w.items()}
    for step in range(STEPS):
        for name, kind in NAMES.items():
            g = gradients[step][name][kind]
            if name == "Conv_0":
                # Means of gradients and not sums, without the pull to zero that they start with.
                v[name] = 0.6 * v[name] + 0.4 * g
                t = step + 1
                ahead = 0.6 * v[name] / (1 - 0.6 ** (t + 1)) + 0.4 * g / (1 - 0.6**t)
                u = orthogonalised(ahead.reshape(-1, 5), iterations).reshape(g.shape)
                w[name] *= np.sqrt(5) / np.linalg.norm(w[name])
                w[name] = w[name] - 0.2 * factor(step) * u
                continue
            base = 0.5 if name == "Dense_0" else 0.05
            share = max(1 - step / 6, 0) if name == "Whitening_0" else factor(step)
            w[name] = nesterov(w[name], g, v[name], base * share, base, 4e-3, 0.8)
    for name, kind in NAMES.items():
        np.testing.assert_allclose(params[name][kind], w[name], rtol=1e-6, err_msg=name)


def test_a_kernel_keeps_its_norm_from_step_to_step(rng):
    """Its direction alone is trained: another size at the start changes nothing."""
    rule = Muon()
    start, gradients = drawn(rng), [drawn(rng) for _ in range(STEPS)]
    one, _ = trained(rule, start, gradients, [{}] * (STEPS + 1))
    larger = start | {"Conv_0": {"kernel": 7 * start["Conv_0"]["kernel"]}}
    other, _ = trained(rule, larger, gradients, [{}] * (STEPS + 1))
    np.testing.assert_allclose(one["Conv_0"]["kernel"], other["Conv_0"]["kernel"], rtol=1e-9)
