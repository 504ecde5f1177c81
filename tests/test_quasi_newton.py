"""L-BFGS's direction by products: Optax's recursion, the secant condition, pairs of no use."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from jaxcv.quasi_newton import scale_by_lbfgs


def flat(tree: Any) -> jax.Array:
    return ravel_pytree(tree)[0]


def problem(rng: np.random.Generator, dtype: Any) -> tuple[Any, Any]:
    """The gradient of a quadratic form and a wave, and a start."""
    root = rng.standard_normal((30, 30))
    matrix = jnp.asarray(root @ root.T / 30 + np.diag(np.linspace(0.1, 3, 30)), dtype)
    start = {
        "bias": jnp.asarray(rng.standard_normal(10), dtype),
        "kernel": jnp.asarray(rng.standard_normal((4, 5)), dtype),
    }

    def cost(params):
        x = flat(params)
        return 0.5 * x @ matrix @ x + jnp.sum(jnp.cos(x))

    return jax.jit(jax.grad(cost)), start


@pytest.mark.parametrize("memory", [1, 10, 40])
# A thousand roundings: 25 points of 30 numbers each, well conditioned.
@pytest.mark.parametrize(("x64", "within"), [(True, 1000 * 2.0**-53), (False, 1000 * 2.0**-24)])
def test_the_direction_is_that_of_the_recursion(rng, memory, x64, within):
    """25 iterations: the memory is empty, half full, full, and written over."""
    with jax.enable_x64(x64):
        gradient, params = problem(rng, jnp.float64 if x64 else jnp.float32)
        ours, theirs = scale_by_lbfgs(memory), optax.scale_by_lbfgs(memory)
        states: list[Any] = [ours.init(params), theirs.init(params)]
        updates = [jax.jit(ours.update), jax.jit(theirs.update)]
        for _ in range(25):
            g, found = gradient(params), []
            for i, update in enumerate(updates):
                direction, states[i] = update(g, states[i], params)
                found.append(direction)
            a, b = map(flat, found)
            assert jnp.linalg.norm(a - b) <= within * jnp.linalg.norm(b)
            params = jax.tree.map(lambda p, d: p - 0.5 * d, params, found[1])


def test_the_newest_change_of_the_gradient_is_taken_to_its_step(rng):
    """The secant condition H y = s, whatever the older pairs are."""
    with jax.enable_x64(True):
        gradient, params = problem(rng, jnp.float64)
        rule = scale_by_lbfgs(4)
        update = jax.jit(rule.update)
        state: Any = rule.init(params)
        for _ in range(7):
            before = params
            direction, state = update(gradient(params), state, params)
            params = jax.tree.map(lambda p, d: p - 0.5 * d, params, direction)
        change = jax.tree.map(jnp.subtract, gradient(params), gradient(before))
        _, state = update(gradient(params), state, params)
        # Asked at the same point it learns nothing new: this is H as it stands.
        got, _ = update(change, state, params)
        np.testing.assert_allclose(flat(got), flat(params) - flat(before), rtol=1e-9, atol=1e-12)


def test_the_first_step_is_no_longer_than_one():
    rule: Any = scale_by_lbfgs(3)
    update = jax.jit(rule.update)
    for size, expected in ((0.25, 0.25), (4.0, 1.0)):
        params = jnp.zeros(1)
        direction, _ = update(jnp.full(1, size), rule.init(params), params)
        np.testing.assert_allclose(np.asarray(direction), [expected], rtol=1e-6)


def test_a_pair_without_curvature_is_left_out(rng):
    """Asked again at one point: nothing is learnt, nothing divided by zero."""
    gradient, params = problem(rng, jnp.float32)
    rule = scale_by_lbfgs(3)
    update = jax.jit(rule.update)
    state: Any = rule.init(params)
    for _ in range(3):
        direction, state = update(gradient(params), state, params)
        assert np.isfinite(flat(direction)).all()
    assert not state.steps.any()
    moved = jax.tree.map(lambda p, d: p - 0.1 * d, params, direction)
    direction, state = update(gradient(moved), state, moved)
    assert np.isfinite(flat(direction)).all()
    assert np.count_nonzero(np.any(state.steps, axis=1)) == 1


def test_after_a_pair_without_curvature_the_older_ones_count():
    """A step at right angles to what it changes of the gradient; then as if it had not been."""
    rule = scale_by_lbfgs(2)
    update = jax.jit(rule.update)
    points = [((0.0, 0.0), (4.0, 1.0)), ((1.0, 0.0), (6.0, 2.0)), ((1.0, 1.0), (9.0, 2.0))]
    state: Any = rule.init(jnp.zeros(2))
    for point, gradient in points:
        direction, state = update(jnp.asarray(gradient), state, jnp.asarray(point))
    # s = (1, 0) and y = (2, 1) alone: γ = 2/5, H = γ (I − s yᵀ/2)ᵀ… by hand for g = (9, 2).
    s, y, g = np.array([1.0, 0.0]), np.array([2.0, 1.0]), np.array([9.0, 2.0])
    left = np.eye(2) - np.outer(s, y) / 2
    expected = (0.4 * left @ left.T + np.outer(s, s) / 2) @ g
    np.testing.assert_allclose(np.asarray(direction), expected, rtol=1e-6)
    assert np.count_nonzero(np.any(state.steps, axis=1)) == 1


@pytest.mark.parametrize("lane", [False, True])
def test_a_full_memory_stays_as_it_is_without_curvature(rng, lane):
    """Asked twice at one point: twice the same answer, also beside a lane that learns."""
    with jax.enable_x64(True):
        gradient, params = problem(rng, jnp.float64)
        rule = scale_by_lbfgs(4)
        update = jax.jit(rule.update)
        state: Any = rule.init(params)
        for _ in range(7):
            before, earlier = params, state
            direction, state = update(gradient(params), state, params)
            params = jax.tree.map(lambda p, d: p - 0.5 * d, params, direction)
        asked = gradient(before), state, before
        if lane:
            both = jax.tree.map(lambda *x: jnp.stack(x), asked, (gradient(params), state, params))
            again, after = jax.tree.map(lambda x: x[0], jax.jit(jax.vmap(rule.update))(*both))
        else:
            again, after = update(*asked)
        assert int(earlier.count) == 5
        assert int(after.count) == int(state.count) == 6
        np.testing.assert_allclose(flat(again), flat(direction), rtol=1e-10, atol=1e-13)
        np.testing.assert_array_equal(after.steps, state.steps)
        np.testing.assert_array_equal(after.changes, state.changes)
        for mine, theirs in ((after.products, state.products), (after.squares, state.squares)):
            np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-13)


def test_lanes_have_directions_of_their_own(rng):
    gradient, start = problem(rng, jnp.float32)
    rule = scale_by_lbfgs(3)
    update = jax.jit(rule.update)
    lanes = [start, jax.tree.map(lambda x: 2 * x, start)]

    def third(params):
        state: Any = rule.init(params)
        for _ in range(3):
            direction, state = update(gradient(params), state, params)
            params = jax.tree.map(lambda p, d: p - 0.1 * d, params, direction)
        return direction

    together = jax.jit(jax.vmap(third))(jax.tree.map(lambda *x: jnp.stack(x), *lanes))
    for i, params in enumerate(lanes):
        alone = flat(jax.jit(third)(params))
        mine = flat(jax.tree.map(lambda x, i=i: x[i], together))
        np.testing.assert_allclose(mine, alone, rtol=1e-4, atol=1e-6)
