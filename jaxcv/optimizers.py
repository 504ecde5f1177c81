"""Update rules: frozen values that build Optax transformations.

A part's numbers may be tracers: the training chunk builds the transformation anew inside the
compiled program, with the hyperparameters it was given as arrays. Only the structure of the
optimizer's state is fixed by the part's type and its static fields.
"""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import jax
from jaxtyping import Array, Float, PyTree

from jaxcv.constraints import Fraction, NonNegative, Positive

if TYPE_CHECKING:
    import optax

Number = float | Float[Array, ""]

# Parameters to the number that is minimised, and what else was computed on the way.
Objective = Callable[[PyTree], tuple[Float[Array, ""], Any]]


@runtime_checkable
class Optimizer(Protocol):
    """An update rule with its base learning rate."""

    @property
    def learning_rate(self) -> float:
        """The base learning rate; the schedule scales it."""
        ...

    @property
    def exact(self) -> bool:
        """Whether the objective must be the same at every step: all images, nothing random."""
        ...

    def transform(
        self, learning_rate: Number, beside: PyTree = ()
    ) -> "optax.GradientTransformation":
        """The Optax transformation at this step's learning rate.

        Its update is given `value`, `grad` and the `objective`, as the training step has them, the
        `position` in the run (`jaxcv.schedules.Position`) and the new `batch_stats`.

        Args:
            learning_rate: of this step.
            beside: arrays, or their shapes, as the objective computes them beside its value.
        """
        ...

    def value_and_grad(
        self, objective: Objective, params: PyTree, opt_state: PyTree
    ) -> tuple[tuple[Float[Array, ""], Any], PyTree]:
        """The objective at the parameters, as `jax.value_and_grad(..., has_aux=True)` gives it."""
        ...

    def statistics(self, opt_state: PyTree, batch_stats: PyTree) -> PyTree:
        """The running statistics after a step, from those that its batch has moved."""
        ...

    def report(self, opt_state: PyTree) -> dict[str, Array]:
        """What a line of metrics.jsonl tells of the rule's last step, beside the learning rate."""
        ...

    def has_converged(self, report: dict[str, float]) -> bool:
        """Whether there is nothing more to gain, from what the rule has reported."""
        ...


class GradientRule:
    """What is common to the rules that follow the gradient of a batch and never look further."""

    exact = False

    def value_and_grad(
        self, objective: Objective, params: PyTree, opt_state: PyTree
    ) -> tuple[tuple[Float[Array, ""], Any], PyTree]:
        """The objective and its gradient, computed."""
        return jax.value_and_grad(objective, has_aux=True)(params)

    def statistics(self, opt_state: PyTree, batch_stats: PyTree) -> PyTree:
        """As the batch has left them."""
        return batch_stats

    def report(self, opt_state: PyTree) -> dict[str, Array]:
        """Nothing."""
        return {}

    def has_converged(self, report: dict[str, float]) -> bool:
        """Never: the gradient of a batch is noise."""
        return False


@dataclasses.dataclass(frozen=True)
class SGD(GradientRule):
    """Stochastic gradient descent: w ← w − η·g.

    Attributes:
        learning_rate: step size η
    """

    learning_rate: Positive = 1e-2

    def transform(
        self, learning_rate: Number, beside: PyTree = ()
    ) -> "optax.GradientTransformation":
        """The Optax transformation at this step's learning rate."""
        import optax

        return optax.sgd(learning_rate)


@dataclasses.dataclass(frozen=True)
class Momentum(GradientRule):
    """Gradient descent with momentum: v ← μ·v + g, w ← w − η·v (Sutskever et al. 2013).

    Attributes:
        learning_rate: step size η
        momentum: how much of the last direction is kept, μ
        nesterov: look ahead: w ← w − η·(μ·v + g)
    """

    learning_rate: Positive = 1e-2
    momentum: Fraction = 0.9
    nesterov: bool = False

    def transform(
        self, learning_rate: Number, beside: PyTree = ()
    ) -> "optax.GradientTransformation":
        """The Optax transformation at this step's learning rate."""
        import optax

        return optax.sgd(learning_rate, momentum=self.momentum, nesterov=self.nesterov)


@dataclasses.dataclass(frozen=True)
class Adam(GradientRule):
    """Adam (Kingma & Ba 2015, algorithm 1).

    Attributes:
        learning_rate: step size
        beta1: decay of the mean of the gradients
        beta2: decay of the mean of their squares
        epsilon: added to the root of the squares
    """

    learning_rate: Positive = 1e-3
    beta1: Fraction = 0.9
    beta2: Fraction = 0.999
    epsilon: Positive = 1e-8

    def transform(
        self, learning_rate: Number, beside: PyTree = ()
    ) -> "optax.GradientTransformation":
        """The Optax transformation at this step's learning rate."""
        import optax

        return optax.adam(learning_rate, b1=self.beta1, b2=self.beta2, eps=self.epsilon)


@dataclasses.dataclass(frozen=True)
class AdamW(GradientRule):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, algorithm 2).

    Attributes:
        learning_rate: step size
        beta1: decay of the mean of the gradients
        beta2: decay of the mean of their squares
        epsilon: added to the root of the squares
        weight_decay: share of a weight that learning rate × weight_decay takes away each step
    """

    learning_rate: Positive = 1e-3
    beta1: Fraction = 0.9
    beta2: Fraction = 0.999
    epsilon: Positive = 1e-8
    weight_decay: NonNegative = 1e-4

    def transform(
        self, learning_rate: Number, beside: PyTree = ()
    ) -> "optax.GradientTransformation":
        """The Optax transformation at this step's learning rate."""
        import optax

        return optax.adamw(
            learning_rate,
            b1=self.beta1,
            b2=self.beta2,
            eps=self.epsilon,
            weight_decay=self.weight_decay,
        )


@dataclasses.dataclass(frozen=True)
class Adagrad(GradientRule):
    """Adagrad (Duchi et al. 2011): s ← s + g², w ← w − η·g/√(s + ε).

    Attributes:
        learning_rate: step size η
        initial_accumulator: s at the start
        epsilon: added under the root
    """

    learning_rate: Positive = 1e-2
    initial_accumulator: NonNegative = 0.1
    epsilon: Positive = 1e-7

    def transform(
        self, learning_rate: Number, beside: PyTree = ()
    ) -> "optax.GradientTransformation":
        """The Optax transformation at this step's learning rate."""
        import optax

        return optax.adagrad(
            learning_rate, initial_accumulator_value=self.initial_accumulator, eps=self.epsilon
        )


@dataclasses.dataclass(frozen=True)
class RMSprop(GradientRule):
    """RMSprop (Tieleman & Hinton 2012): s ← ρ·s + (1 − ρ)·g², w ← w − η·g/√(s + ε).

    Attributes:
        learning_rate: step size η
        decay: how much of the mean of the squares is kept, ρ
        epsilon: added under the root
    """

    learning_rate: Positive = 1e-3
    decay: Fraction = 0.9
    epsilon: Positive = 1e-8

    def transform(
        self, learning_rate: Number, beside: PyTree = ()
    ) -> "optax.GradientTransformation":
        """The Optax transformation at this step's learning rate."""
        import optax

        return optax.rmsprop(learning_rate, decay=self.decay, eps=self.epsilon)
