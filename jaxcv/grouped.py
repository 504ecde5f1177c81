"""Update rules that treat kernels, biases and the last layer each in its own way.

From Jordan 2024, "94% on CIFAR-10 in 3.29 seconds on a single GPU", section 3.4, and its successor
with Muon (Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks").
"""

import dataclasses
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxcv.constraints import Count, Fraction, NonNegative, Positive
from jaxcv.optimizers import GradientRule, Number
from jaxcv.schedules import Position, total_steps

if TYPE_CHECKING:
    import optax

Group = Literal["convolution", "dense", "whitening", "bias"]

# Where Newton and Schulz's iteration leaves a singular value: near 1, fast, and never quite there.
_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def groups(params: PyTree) -> PyTree:
    """The group of each parameter: kernels by their rank, biases by whether they whiten.

    Example:
        >>> groups({"Conv_0": {"kernel": jnp.zeros((3, 3, 1, 2))}, "Whitening_0": {"bias": 0.0}})
        {'Conv_0': {'kernel': 'convolution'}, 'Whitening_0': {'bias': 'whitening'}}
    """

    def group(path: Any, leaf: Any) -> Group:
        if jnp.ndim(leaf) > 1:
            return "convolution" if jnp.ndim(leaf) == 4 else "dense"
        return "whitening" if any("Whitening" in str(key) for key in path) else "bias"

    return jax.tree_util.tree_map_with_path(group, params)


@dataclasses.dataclass(frozen=True)
class LookaheadSGD(GradientRule):
    """Nesterov's momentum with faster biases, drawn back to a slow average now and then.

    With the rate η and the factor f of the schedule, w ← w − r·(μ·v + d), v ← μ·v + d and
    d = g + (λ/r₀)·w, where r = η·f and r₀ = η for kernels and for the bias of a whitening layer,
    both `bias_factor` times that for other biases: decay adds the share f·λ of a weight to a step,
    whatever its group, and momentum sums it up as it does gradients.

    Every few steps the average a of parameters and running statistics moves,
    a ← a + (1 − α)·(w − a) with α = decay · (share of all steps done)³, and w becomes a (Zhang et
    al. 2019, "Lookahead optimizer: k steps forward, 1 step back"). After the last step w is the
    average.

    Attributes:
        learning_rate: step size η
        momentum: how much of the last direction is kept, μ
        weight_decay: share of a weight that decay adds to a step at the base rate, λ
        bias_factor: how much faster biases learn
        whitening_epochs: the bias of a whitening layer is frozen from here on
        lookahead_interval: steps between two updates of the average
        lookahead_decay: how much of the average an update keeps at the end of the run
    """

    learning_rate: Positive = 1e-3
    momentum: Fraction = 0.85
    weight_decay: NonNegative = 0.0
    bias_factor: Positive = 64.0
    whitening_epochs: NonNegative = 3.0
    lookahead_interval: Count = 5
    lookahead_decay: Fraction = 0.95**5

    def transform(
        self, learning_rate: Number, beside: PyTree = ()
    ) -> "optax.GradientTransformationExtraArgs":
        """The Optax transformation at this step's learning rate."""
        import optax

        def rule(factor: Number) -> "optax.GradientTransformation":
            return optax.chain(
                optax.add_decayed_weights(self.weight_decay / (factor * self.learning_rate)),
                optax.sgd(factor * learning_rate, self.momentum, nesterov=True),
            )

        rules = {
            "convolution": rule(1.0),
            "dense": rule(1.0),
            "whitening": optax.chain(rule(1.0), _until_frozen(self.whitening_epochs)),
            "bias": rule(self.bias_factor),
        }
        sgd = optax.with_extra_args_support(optax.partition(cast(Any, rules), groups))

        def init(params: PyTree) -> Lookahead:
            stats = beside[1] if beside else {}
            # Copies: the state's buffers are donated, each of them once.
            slow, average = jax.tree.map(jnp.copy, ((params, stats), stats))
            return Lookahead(sgd.init(params), slow, average)

        def update(
            gradients: PyTree,
            state: Lookahead,
            params: PyTree = None,
            *,
            position: Position,
            batch_stats: PyTree,
            **ignored: Any,
        ) -> tuple[PyTree, Lookahead]:
            updates, inner = sgd.update(gradients, state.sgd, params, position=position)
            done = position.step + 1
            moves = done % self.lookahead_interval == 0
            keep = self.lookahead_decay * (done / position.total) ** 3
            now = (optax.apply_updates(params, updates), batch_stats)
            slow = jax.tree.map(
                lambda s, x: jnp.where(moves, s + (1 - keep).astype(s.dtype) * (x - s), s),
                state.slow,
                now,
            )
            back = moves | (done >= position.total)
            after, statistics = jax.tree.map(lambda s, x: jnp.where(back, s, x), slow, now)
            updates = jax.tree.map(jnp.subtract, after, params)
            return updates, Lookahead(inner, slow, statistics)

        return optax.GradientTransformationExtraArgs(init, cast(Any, update))

    def statistics(self, opt_state: PyTree, batch_stats: PyTree) -> PyTree:
        """Those of the average after a step that ends on it, else as the batch has left them."""
        import optax

        return optax.tree.get(opt_state, "statistics")


class Lookahead(NamedTuple):
    """State of `LookaheadSGD`.

    Attributes:
        sgd: momenta
        slow: averages of the parameters and of the running statistics
        statistics: running statistics that belong to the parameters after the step
    """

    sgd: PyTree
    slow: PyTree
    statistics: PyTree


@dataclasses.dataclass(frozen=True)
class Muon(GradientRule):
    """Muon for convolutions, Nesterov's momentum for the other parameters.

    A convolution's momentum, as a matrix [in · rows · columns, out], is brought near the closest
    matrix with orthonormal rows or columns by Newton and Schulz's iteration. Before each step the
    kernel is rescaled to the norm √out: with normalisation behind it only its direction counts, and
    the rate is then the angle of a step. The momentum is Optax's, a mean of the gradients corrected
    for its start from zero; the public record's is a sum, and its first steps differ a little.

    The others follow w ← w − r·(μ·v + d), v ← μ·v + d, d = g + (λ/r₀)·w as in `LookaheadSGD`, with
    rates of their own. The rate of a whitening layer's bias falls linearly to nothing.

    Attributes:
        learning_rate: step size of the convolutions; the schedule scales the other rates alike
        momentum: how much of the last direction the convolutions keep
        newton_schulz_steps: iterations
        dense_learning_rate: step size of dense kernels
        bias_learning_rate: step size of biases
        sgd_momentum: how much of the last direction dense kernels and biases keep, μ
        weight_decay: share of these weights that decay adds to a step at the base rate, λ
        whitening_epochs: the bias of a whitening layer is frozen from here on
    """

    learning_rate: Positive = 0.24
    momentum: Fraction = 0.6
    newton_schulz_steps: Count = 3
    dense_learning_rate: Positive = 0.67
    bias_learning_rate: Positive = 0.053
    sgd_momentum: Fraction = 0.85
    weight_decay: NonNegative = 0.0
    whitening_epochs: NonNegative = 3.0

    def transform(
        self, learning_rate: Number, beside: PyTree = ()
    ) -> "optax.GradientTransformationExtraArgs":
        """The Optax transformation at this step's learning rate."""
        import optax
        from optax import contrib

        factor = learning_rate / self.learning_rate

        def sgd(base: Number, factor: Number) -> "optax.GradientTransformation":
            return optax.chain(
                optax.add_decayed_weights(self.weight_decay / base),
                optax.sgd(base * factor, self.sgd_momentum, nesterov=True),
            )

        muon = contrib.scale_by_muon(
            _NEWTON_SCHULZ,
            self.newton_schulz_steps,
            self.momentum,
            weight_dimension_numbers=lambda kernels: jax.tree.map(
                lambda _: contrib.MuonDimensionNumbers((0, 1, 2), 3), kernels
            ),
        )
        rules = {
            "convolution": optax.chain(muon, optax.scale(-learning_rate), _rescaled()),
            "dense": sgd(self.dense_learning_rate, factor),
            "whitening": optax.chain(
                sgd(self.bias_learning_rate, 1.0), _falling(self.whitening_epochs)
            ),
            "bias": sgd(self.bias_learning_rate, factor),
        }
        return optax.partition(cast(Any, rules), groups)


def _rescaled() -> "optax.GradientTransformation":
    """Adds to an update what brings the kernel to the norm √out before it."""
    import optax

    def rescaled(update: Array, kernel: Array) -> Array:
        norm = jnp.sqrt(jnp.sum(jnp.square(kernel)))
        return update + kernel * (kernel.shape[-1] ** 0.5 / norm - 1)

    return optax.stateless(lambda updates, params: jax.tree.map(rescaled, updates, params))


def _scaled_by_position(factor: Any) -> "optax.GradientTransformationExtraArgs":
    """Multiplies updates with a number made from the position in the run."""
    import optax

    def update(
        updates: PyTree, state: PyTree, params: PyTree = None, *, position: Position, **_: Any
    ) -> tuple[PyTree, PyTree]:
        by = factor(position)
        return jax.tree.map(lambda u: u * by.astype(u.dtype), updates), state

    return optax.GradientTransformationExtraArgs(
        lambda params: optax.EmptyState(), cast(Any, update)
    )


def _until_frozen(epochs: Number) -> "optax.GradientTransformationExtraArgs":
    """1 for the first epochs, then 0."""

    def factor(position: Position) -> Float[Array, ""]:
        return jnp.where(position.step < _steps(position, epochs), 1.0, 0.0)

    return _scaled_by_position(factor)


def _falling(epochs: Number) -> "optax.GradientTransformationExtraArgs":
    """Linearly from 1 at the first step to 0 after the first epochs."""

    def factor(position: Position) -> Float[Array, ""]:
        return jnp.maximum(1 - position.step / jnp.maximum(_steps(position, epochs), 1), 0.0)

    return _scaled_by_position(factor)


def _steps(position: Position, epochs: Number) -> Array:
    return total_steps(position.steps_per_epoch, epochs)
