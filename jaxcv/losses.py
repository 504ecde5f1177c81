"""What training minimises: cross-entropy on logits, and the penalty on large kernels."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree, Real

from jaxcv.constraints import Fraction, NonNegative
from jaxcv.metrics import ACCURACY, Score

Scalar = Float[Array, ""]


def cross_entropy_per_example(
    logits: Float[Array, "batch classes"],
    labels: Int[Array, " batch"],
    label_smoothing: float | Scalar = 0.0,
) -> Float[Array, " batch"]:
    """Cross-entropy of softmax(logits) against smoothed labels, of each example, in nats.

    With the smoothed target q = (1 − s)·onehot + s/C (Szegedy et al. 2016, section 7),

        −Σ_c q_c log softmax(z)_c = logsumexp(z) − (1 − s)·z_label − s·mean(z).

    The maximum is subtracted first, so logits of ±1e4 neither overflow nor lose the answer.
    """
    shifted = logits - jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
    log_normalizer = jnp.log(jnp.sum(jnp.exp(shifted), axis=-1))
    of_label = jnp.take_along_axis(shifted, labels[:, None], axis=-1)[:, 0]
    # The difference to the label's logit, not a product with one-hot labels: 0·∞ never occurs.
    return log_normalizer - of_label + label_smoothing * (of_label - jnp.mean(shifted, axis=-1))


def cross_entropy(
    logits: Float[Array, "batch classes"],
    labels: Int[Array, " batch"],
    label_smoothing: float | Scalar = 0.0,
) -> Scalar:
    """Mean cross-entropy over the batch, in nats; ln C for logits that are all equal.

    Raises:
        ValueError: the batch is empty.
    """
    if logits.shape[0] == 0:
        raise ValueError("cross_entropy needs at least one example, got an empty batch")
    return jnp.mean(cross_entropy_per_example(logits, labels, label_smoothing))


def l2_penalty(params: PyTree) -> Scalar:
    """½ Σ w² over every kernel; biases, scales and offsets are left out."""
    squares = [
        jnp.sum(jnp.square(leaf))
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
        if path[-1] == jax.tree_util.DictKey("kernel")
    ]
    return 0.5 * sum(squares, start=jnp.zeros((), jnp.result_type(*squares, jnp.float32)))


Totals = dict[str, Array]


@runtime_checkable
class Loss(Protocol):
    """A loss: totals of a batch, the objective whose gradient is followed, and what is reported.

    Totals of two sets of examples `combine` to those of both, so that an epoch or a split is
    counted batch by batch on the device; `metrics` then makes the reported numbers of them.
    """

    @property
    def score(self) -> Score:
        """Which of the metrics ranks models."""
        ...

    def totals(
        self,
        outputs: PyTree,
        images: Real[Array, "batch ..."],
        labels: Int[Array, " batch"],
        params: PyTree,
        mask: Bool[Array, " batch"] | None = None,
    ) -> Totals:
        """Sums over the batch; the examples that the mask leaves out add nothing.

        Args:
            outputs: the network's, of the images.
            images: as the network saw them.
            labels: class of each.
            params: the network's; a penalty that is to be reported is among the sums.
            mask: which examples count; None for all.
        """
        ...

    def combine(self, one: Totals, other: Totals) -> Totals:
        """The totals of two sets of examples together."""
        ...

    def objective(self, totals: Totals, params: PyTree) -> Scalar:
        """The number to minimise, from a batch's totals and the parameters."""
        ...

    def metrics(self, totals: Mapping[str, Any]) -> dict[str, float]:
        """What is reported of a set of examples, from its totals on the host.

        The first is the loss itself; `score` names one of them.
        """
        ...

    def predictions(self, outputs: PyTree) -> Real[Array, "batch ..."]:
        """What the network says of the images, for people to read."""
        ...


@dataclasses.dataclass(frozen=True)
class CrossEntropy:
    """Cross-entropy, plus l2 · ½ Σ w² over the kernels.

    Attributes:
        label_smoothing: share of the target spread evenly over the classes
        l2: weight of half the squared kernels in the loss
    """

    label_smoothing: Fraction = 0.0
    l2: NonNegative = 0.0

    @property
    def score(self) -> Score:
        """Accuracy."""
        return ACCURACY

    def totals(
        self,
        outputs: Float[Array, "batch classes"],
        images: Real[Array, "batch ..."],
        labels: Int[Array, " batch"],
        params: PyTree,
        mask: Bool[Array, " batch"] | None = None,
    ) -> Totals:
        """`loss` (nats, without the penalty), `correct` and `count`, summed over the batch."""
        losses = cross_entropy_per_example(outputs, labels, self.label_smoothing)
        correct = jnp.argmax(outputs, axis=-1) == labels
        if mask is None:
            mask = jnp.ones(labels.shape, bool)
        return {
            "loss": jnp.sum(jnp.where(mask, losses, 0)),
            "correct": jnp.sum(correct & mask, dtype=jnp.int32),
            "count": jnp.sum(mask, dtype=jnp.int32),
        }

    def combine(self, one: Totals, other: Totals) -> Totals:
        """Sums of both."""
        return jax.tree.map(jnp.add, one, other)

    def objective(self, totals: Totals, params: PyTree) -> Scalar:
        """Mean cross-entropy of the batch + l2 · ½ Σ w²."""
        return totals["loss"] / totals["count"] + self.l2 * l2_penalty(params)

    def metrics(self, totals: Mapping[str, Any]) -> dict[str, float]:
        """Mean `loss` in nats, without the penalty, and `accuracy` as a fraction.

        Example:
            >>> CrossEntropy().metrics({"loss": 46.0, "correct": 10, "count": 20})
            {'loss': 2.3, 'accuracy': 0.5}
        """
        count = int(totals["count"])
        return {
            "loss": float(np.float64(totals["loss"]) / count),
            "accuracy": int(totals["correct"]) / count,
        }

    def predictions(self, outputs: Float[Array, "batch classes"]) -> Float[Array, "batch classes"]:
        """Class probabilities."""
        return jax.nn.softmax(outputs, axis=-1)


@dataclasses.dataclass(frozen=True)
class SummedCrossEntropy(CrossEntropy):
    """Cross-entropy, minimised as the sum over the batch; reported as a mean all the same.

    Learning rates that are stated for the gradient of one example stay right for another batch.

    Attributes:
        label_smoothing: share of the target spread evenly over the classes
        l2: weight of half the squared kernels in the loss
    """

    def objective(self, totals: Totals, params: PyTree) -> Scalar:
        """Cross-entropy summed over the batch + l2 · ½ Σ w²."""
        return totals["loss"] + self.l2 * l2_penalty(params)
