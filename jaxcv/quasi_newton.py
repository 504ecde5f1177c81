"""The direction of L-BFGS by matrix products, instead of a recursion over vectors.

The two-loop recursion (Nocedal & Wright 2006, algorithm 7.4) passes over each of the m stored steps
s and changes of the gradient y twice, one after another. All that it asks of them is inner
products. With the pairs as rows of S and Y, the oldest first, R the upper triangle of S Yᵀ and D
its diagonal, its first loop solves a triangular system and so does its second:

    R α = S g,    Rᵀ c = D α − γ Y (g − Yᵀ α),    direction = γ (g − Yᵀ α) + Sᵀ c,

which is the compact form of Byrd, Nocedal & Schnabel (1994, theorem 2.2). S Yᵀ and Y Yᵀ are kept:
a new pair changes one row and one column. 100 pairs of 33,088 numbers take 6 ms instead of 22 ms
on two cores.
"""

import functools
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PyTree

# Whatever the backend's default: differences of gradients do not bear fewer bits.
_product = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)


class Pairs(NamedTuple):
    """What the last iterations have told of the curvature.

    Attributes:
        count: pairs that have been stored; −1 before the first iteration.
        params: of the last iteration, flat.
        gradient: there.
        steps: changes of the parameters, S; a row is written over in turn.
        changes: changes of the gradient, Y.
        products: S Yᵀ.
        squares: Y Yᵀ.
    """

    count: Int[Array, ""]
    params: Float[Array, " n"]
    gradient: Float[Array, " n"]
    steps: Float[Array, "memory n"]
    changes: Float[Array, "memory n"]
    products: Float[Array, "memory memory"]
    squares: Float[Array, "memory memory"]


def scale_by_lbfgs(memory: int) -> optax.GradientTransformation:
    """Scales a gradient by L-BFGS's inverse Hessian, as `optax.scale_by_lbfgs` does.

    γ is sᵀy / yᵀy of the newest pair; before there is one, what makes the first step no longer
    than 1. A pair without curvature, sᵀy = 0, is not stored: γ and the older pairs stay as they
    are.

    Args:
        memory: pairs that are kept.
    """

    def init(params: PyTree) -> Pairs:
        flat, _ = ravel_pytree(params)
        rows = jnp.zeros((memory, flat.size), flat.dtype)
        square = jnp.zeros((memory, memory), flat.dtype)
        zeros = jnp.zeros_like(flat)
        return Pairs(jnp.full((), -1, jnp.int32), zeros, zeros, rows, rows, square, square)

    def update(
        gradients: PyTree, state: optax.OptState, params: PyTree = None
    ) -> tuple[PyTree, Pairs]:
        pairs = cast(Pairs, state)
        gradient, unravel = ravel_pytree(gradients)
        pairs, products_with_gradient = _remember(pairs, ravel_pytree(params)[0], gradient)
        return unravel(_direction(pairs, *products_with_gradient)), pairs

    return optax.GradientTransformation(init, cast(Any, update))


def _remember(
    pairs: Pairs, params: Float[Array, " n"], gradient: Float[Array, " n"]
) -> tuple[Pairs, tuple[Float[Array, " memory"], Float[Array, " memory"]]]:
    """With the newest pair; and S g and Y g."""
    step, change = params - pairs.params, gradient - pairs.gradient
    kept = (pairs.count >= 0) & (_product(step, change) != 0)
    row = jnp.maximum(pairs.count, 0) % len(pairs.steps)
    # What is not stored leaves its row as it is: the products below are then those there were.
    step, change = (
        jnp.where(kept, new, rows[row])
        for new, rows in ((step, pairs.steps), (change, pairs.changes))
    )
    steps, changes = pairs.steps.at[row].set(step), pairs.changes.at[row].set(change)
    # Each of the large matrices is read once.
    with_changes = _product(steps, jnp.stack([change, gradient], axis=1))
    with_all = _product(changes, jnp.stack([step, change, gradient], axis=1))
    products = pairs.products.at[row].set(with_all[:, 0]).at[:, row].set(with_changes[:, 0])
    squares = pairs.squares.at[row].set(with_all[:, 1]).at[:, row].set(with_all[:, 1])
    count = jnp.maximum(pairs.count, 0) + kept
    now = Pairs(count, params, gradient, steps, changes, products, squares)
    return now, (with_changes[:, 1], with_all[:, 2])


def _direction(
    pairs: Pairs, s_gradient: Float[Array, " memory"], y_gradient: Float[Array, " memory"]
) -> Float[Array, " n"]:
    """The inverse Hessian times the gradient, from the pairs and S g and Y g."""
    memory = len(pairs.steps)
    oldest_first = (pairs.count + jnp.arange(memory)) % memory
    products = pairs.products[oldest_first][:, oldest_first]
    squares = pairs.squares[oldest_first][:, oldest_first]
    curvature = jnp.diag(products)
    # Rows that are still empty solve for nothing.
    triangle = jnp.triu(products) + jnp.diag(jnp.where(curvature == 0, 1.0, 0.0))
    norm = jnp.sqrt(_product(pairs.gradient, pairs.gradient))
    known = pairs.count > 0
    newest = curvature[-1] / jnp.where(known, squares[-1, -1], 1.0)
    scale = jnp.where(known, newest, jnp.minimum(1.0, 1.0 / norm))

    solve = jax.scipy.linalg.solve_triangular
    alpha = solve(triangle, s_gradient[oldest_first])
    rest = curvature * alpha - scale * (y_gradient[oldest_first] - _product(squares, alpha))
    weights = solve(triangle, rest, trans=1)
    as_stored = jnp.zeros((2, memory), alpha.dtype)
    stored = as_stored.at[:, oldest_first].set(jnp.stack([alpha, weights]))
    rest = pairs.gradient - _product(stored[0], pairs.changes)
    return scale * rest + _product(stored[1], pairs.steps)
