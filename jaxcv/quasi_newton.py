"""The direction of L-BFGS by matrix products, instead of a recursion over vectors.

The two-loop recursion (Nocedal & Wright 2006, algorithm 7.4) passes over each of the m stored steps
s and changes of the gradient y twice, one after another. All that it asks of them is inner
products. With the pairs as rows of S and Y, the oldest first, R the upper triangle of S Yᵀ and D
its diagonal, its first loop solves a triangular system and so does its second:

    R α = S g,    Rᵀ c = D α − γ Y (g − Yᵀ α),    direction = γ (g − Yᵀ α) + Sᵀ c,

which is the compact form of Byrd, Nocedal & Schnabel (1994, theorem 2.2). S Yᵀ and Y Yᵀ are kept:
a new pair changes one row and one column. With 100 pairs of 33,088 numbers an iteration on 10,240
patches takes a good half of the recursion's time on two cores.
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
        newest = _newest(pairs, ravel_pytree(params)[0], gradient)
        known = _products(pairs, newest)
        direction = _direction(pairs, newest, known)
        return unravel(direction), _stored(pairs, newest, known)

    return optax.GradientTransformation(init, cast(Any, update))


class _Newest(NamedTuple):
    """The pair that this iteration brings, and where it stands.

    Attributes:
        count: pairs that have been stored, this one included.
        row: of S and Y that it takes: the oldest pair's, once all are taken.
        step: s; where a pair has no curvature, what the row holds already, which then stays.
        change: y, likewise.
        params: of this iteration, flat.
        gradient: there.
    """

    count: Int[Array, ""]
    row: Int[Array, ""]
    step: Float[Array, " n"]
    change: Float[Array, " n"]
    params: Float[Array, " n"]
    gradient: Float[Array, " n"]


class _Products(NamedTuple):
    """S Yᵀ, Y Yᵀ, S g and Y g, the newest pair among them."""

    products: Float[Array, "memory memory"]
    squares: Float[Array, "memory memory"]
    s_gradient: Float[Array, " memory"]
    y_gradient: Float[Array, " memory"]


def _newest(pairs: Pairs, params: Float[Array, " n"], gradient: Float[Array, " n"]) -> _Newest:
    step, change = params - pairs.params, gradient - pairs.gradient
    kept = (pairs.count >= 0) & (_product(step, change) != 0)
    count = jnp.maximum(pairs.count, 0)
    row = count % len(pairs.steps)
    step = jnp.where(kept, step, pairs.steps[row])
    change = jnp.where(kept, change, pairs.changes[row])
    return _Newest(count + kept, row, step, change, params, gradient)


def _products(pairs: Pairs, newest: _Newest) -> _Products:
    """All inner products that are not known yet; each of the large matrices is read once."""
    row, step, change = newest.row, newest.step, newest.change
    vectors = jnp.stack([step, change, newest.gradient], axis=1)
    with_s = _product(pairs.steps, vectors[:, 1:]).at[row].set(_product(step, vectors[:, 1:]))
    with_y = _product(pairs.changes, vectors).at[row].set(_product(change, vectors))
    products = pairs.products.at[row].set(with_y[:, 0]).at[:, row].set(with_s[:, 0])
    squares = pairs.squares.at[row].set(with_y[:, 1]).at[:, row].set(with_y[:, 1])
    return _Products(products, squares, with_s[:, 1], with_y[:, 2])


def _direction(pairs: Pairs, newest: _Newest, known: _Products) -> Float[Array, " n"]:
    """The inverse Hessian times the gradient."""
    gradient, memory = newest.gradient, len(pairs.steps)
    oldest_first = (newest.count + jnp.arange(memory)) % memory
    products = known.products[oldest_first][:, oldest_first]
    squares = known.squares[oldest_first][:, oldest_first]
    curvature = jnp.diag(products)
    # Rows that are still empty solve for nothing.
    triangle = jnp.triu(products) + jnp.diag(jnp.where(curvature == 0, 1.0, 0.0))
    norm = jnp.sqrt(_product(gradient, gradient))
    any_pair = newest.count > 0
    scale = jnp.where(
        any_pair,
        curvature[-1] / jnp.where(any_pair, squares[-1, -1], 1.0),
        jnp.minimum(1.0, 1.0 / norm),
    )
    solve = jax.scipy.linalg.solve_triangular
    alpha = solve(triangle, known.s_gradient[oldest_first])
    right = curvature * alpha - scale * (known.y_gradient[oldest_first] - _product(squares, alpha))
    weights = solve(triangle, right, trans=1)

    def combined(
        shares: Float[Array, " memory"], rows: Float[Array, "memory n"], own: Float[Array, " n"]
    ) -> Float[Array, " n"]:
        """Shares, the oldest pair's first, times the rows, with this iteration's own in its row."""
        as_stored = jnp.zeros(memory, shares.dtype).at[oldest_first].set(shares)
        others = _product(as_stored.at[newest.row].set(0.0), rows)
        return others + as_stored[newest.row] * own

    rest = gradient - combined(alpha, pairs.changes, newest.change)
    return scale * rest + combined(weights, pairs.steps, newest.step)


def _stored(pairs: Pairs, newest: _Newest, known: _Products) -> Pairs:
    """The pairs with the newest, for the next iteration.

    Nothing above reads them: XLA:CPU would write the new rows as a part of the product that reads
    them, and compute that on one core.
    """
    return Pairs(
        newest.count,
        newest.params,
        newest.gradient,
        pairs.steps.at[newest.row].set(newest.step),
        pairs.changes.at[newest.row].set(newest.change),
        known.products,
        known.squares,
    )
