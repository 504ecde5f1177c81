"""L-BFGS as an update rule of the train chunk, its line search compiled with it."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxcv.constraints import Count, NonNegative, Positive
from jaxcv.optimizers import Number, Objective

if TYPE_CHECKING:
    import optax


@dataclasses.dataclass(frozen=True)
class LBFGS:
    """Limited-memory BFGS with a line search (Nocedal & Wright 2006, algorithms 7.4, 7.5, 3.5).

    A step is an iteration: a quasi-Newton direction from the last few steps, then a search along
    it for a point that satisfies the strong Wolfe conditions. The value and the gradient that the
    search ends with serve the next iteration, and so does what the objective computes beside its
    value: nothing is evaluated twice.

    Attributes:
        learning_rate: what the line search tries first, as a multiple of the direction
        memory: how many of the last steps shape the direction
        search_steps: most evaluations in a line search
        tolerance: the run ends when the norm of the gradient is this small
    """

    learning_rate: Positive = 1.0
    memory: Count = 10
    search_steps: Count = 20
    tolerance: NonNegative = 1e-6

    @property
    def exact(self) -> bool:
        """It compares gradients of different steps."""
        return True

    def transform(
        self, learning_rate: Number, beside: PyTree = ()
    ) -> "optax.GradientTransformationExtraArgs":
        """L-BFGS and Optax's line search, which also sees what is computed beside the value.

        Optax keeps the gradient of the accepted point and nothing else of it. So the search runs
        on the parameters and, for each array `beside`, a weight that is always zero: the
        derivative by the weight is the array. As the direction has no part in the weights, every
        slope and every step is that of the parameters alone.
        """
        import optax

        from jaxcv.quasi_newton import scale_by_lbfgs

        rule = optax.chain(scale_by_lbfgs(self.memory), optax.scale_by_learning_rate(learning_rate))
        search = optax.scale_by_zoom_linesearch(
            max_linesearch_steps=self.search_steps, initial_guess_strategy="one"
        )

        def init(params: PyTree) -> PyTree:
            return rule.init(params), search.init((params, _weights(params, beside)))

        def update(
            gradients: PyTree,
            state: PyTree,
            params: PyTree = None,
            *,
            value: Array,
            grad: PyTree,
            objective: Objective,
            **ignored: Any,
        ) -> tuple[PyTree, PyTree]:
            weights = _weights(params, beside)
            direction, memory = rule.update(gradients, state[0], params)
            scaled, found = search.update(
                (direction, weights),
                state[1],
                (params, weights),
                value=value,
                # No part of the direction: what stands for their derivative does not matter.
                grad=(grad, weights),
                value_fn=_weighted(objective),
            )
            scaled_direction, _ = cast(tuple[PyTree, PyTree], scaled)
            return scaled_direction, (memory, found)

        return optax.GradientTransformationExtraArgs(init, cast(Any, update))

    def value_and_grad(
        self, objective: Objective, params: PyTree, opt_state: PyTree
    ) -> tuple[tuple[Float[Array, ""], Any], PyTree]:
        """As the last line search left them; only the first step has none behind it."""
        search = opt_state[1]
        shapes = jax.eval_shape(objective, params)[1]
        weights = search.grad[1]
        value, (gradient, floats) = jax.lax.cond(
            jnp.isfinite(search.value),
            lambda params: (search.value, search.grad),
            lambda params: jax.value_and_grad(_weighted(objective))(
                (params, jax.tree.map(jnp.zeros_like, weights))
            ),
            params,
        )
        beside = jax.tree.map(lambda shape, x: x.astype(shape.dtype), shapes, floats)
        return (value, beside), gradient

    def statistics(self, opt_state: PyTree, batch_stats: PyTree) -> PyTree:
        """As the accepted point has left them."""
        return batch_stats

    def report(self, opt_state: PyTree) -> dict[str, Array]:
        """The gradient's norm after the step, and how often the search evaluated the gradient."""
        search = opt_state[1]
        return {
            "gradient_norm": _global_norm(search.grad[0]),
            "evaluations": search.info.num_linesearch_steps,
        }

    def has_converged(self, report: dict[str, float]) -> bool:
        """Whether the gradient has all but vanished."""
        return report["gradient_norm"] <= self.tolerance


def _weights(params: PyTree, beside: PyTree) -> PyTree:
    """A zero of the parameters' type for each number of some arrays, whole numbers too."""
    dtype = jax.tree.leaves(params)[0].dtype
    return jax.tree.map(lambda x: jnp.zeros(x.shape, dtype), beside)


def _weighted(objective: Objective) -> Callable[[PyTree], Float[Array, ""]]:
    """The objective plus all that it computes beside its value times weights."""

    def value(arguments: PyTree) -> Float[Array, ""]:
        params, weights = arguments
        value, beside = objective(params)
        beside = jax.lax.stop_gradient(beside)
        products = jax.tree.map(lambda w, x: jnp.vdot(w, x.astype(w.dtype)), weights, beside)
        return value + sum(jax.tree.leaves(products))

    return value


@jax.jit
def _global_norm(tree: PyTree) -> Float[Array, ""]:
    """Root of the sum of all squares."""
    return jnp.sqrt(sum(jnp.vdot(leaf, leaf) for leaf in jax.tree.leaves(tree)))
