"""Two checks before a long training: the loss at the start, and whether a few images can be learnt.

A classifier whose first loss is not what its initialisation predicts, or which cannot memorise 100
images, has a defect that no training will mend (Karpathy 2019, "A recipe for training neural
networks"; CS231n, assignment 2).
"""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float

from jaxcv import device_data, evaluation, training
from jaxcv.data.dataset import Dataset
from jaxcv.errors import UserError
from jaxcv.experiment import Experiment
from jaxcv.losses import CrossEntropy, cross_entropy, l2_penalty
from jaxcv.optimizers import Adam
from jaxcv.programs import Program, prepare, resolve
from jaxcv.schedules import Constant

IMAGES = 100
BATCH_SIZE = 50
# Softmax regression is the slowest to learn its images by heart.
STEPS = 4000
ACCURACY = 0.99
LEARNING_RATE = 1e-3

_CHECKED_EVERY = 50  # epochs of two steps
_DRAWS = 100
_DEVIATIONS = 4.0


class InitialLoss(NamedTuple):
    """The loss before the first step, and what the last layer's initialisation predicts.

    Attributes:
        loss: mean cross-entropy of the first images, in nats
        chance: of equal probabilities, ln C
        predicted: mean over fresh draws of the last layer's kernel; None without a dense layer
        deviation: standard deviation over these draws
        penalty: what the L2 term adds to the objective
    """

    loss: float
    chance: float
    predicted: float | None
    deviation: float
    penalty: float

    @property
    def holds(self) -> bool:
        """Within four standard deviations of the prediction, and a little for rounding."""
        if self.predicted is None:
            return math.isfinite(self.loss)
        return abs(self.loss - self.predicted) <= _DEVIATIONS * self.deviation + 1e-3


class Overfit(NamedTuple):
    """How well a few images were learnt by heart.

    Attributes:
        accuracy: on these images, in evaluation mode
        loss: mean cross-entropy on them, in nats
        steps: taken until the accuracy sufficed, or all that were allowed
    """

    accuracy: float
    loss: float
    steps: int

    @property
    def holds(self) -> bool:
        """Whether at least 99 % are right."""
        return self.accuracy >= ACCURACY


class Sanity(NamedTuple):
    """Both checks."""

    initial: InitialLoss
    overfit: Overfit

    @property
    def holds(self) -> bool:
        """Whether the experiment is worth training."""
        return self.initial.holds and self.overfit.holds

    def text(self) -> str:
        """What was found, for people."""
        start, end = self.initial, self.overfit
        chance = f"equal probabilities have {start.chance:.4f}"
        if start.predicted is None:
            expectation = f"{chance}; there is no dense layer to predict it from"
        else:
            spread = f"{start.predicted:.4f} ± {start.deviation:.4f}"
            expectation = f"its initialisation predicts {spread}; {chance}"
        penalty = f", and {start.penalty:.4f} of L2" if start.penalty else ""
        return "\n".join(
            (
                f"initial loss {start.loss:.4f}{penalty}: {_verdict(start.holds)}",
                f"  {expectation}",
                f"{IMAGES} images overfitted to {end.accuracy:.0%}: {_verdict(end.holds)}",
                f"  loss {end.loss:.4f} after {end.steps} steps of {BATCH_SIZE} images; at least "
                f"{ACCURACY:.0%} within {STEPS} steps is asked for",
            )
        )


def _verdict(holds: bool) -> str:
    return "ok" if holds else "WRONG"


def check(experiment: Experiment, dataset: Dataset) -> Sanity:
    """Checks a classifier on the first images of its shuffled training set.

    Args:
        experiment: any with a cross-entropy; its regularisation (augmentation, dropout, L2, label
            smoothing), optimizer, clipping and schedule are put aside for the overfitting.
        dataset: what it is to be trained on.

    Raises:
        UserError: it is no classifier, or there are too few training images.
    """
    _classifier_loss(experiment)
    if len(dataset.train) < IMAGES:
        raise UserError(f"--sanity needs {IMAGES} training images, not {len(dataset.train)}")
    experiment = resolve(experiment, dataset)
    chosen = np.random.default_rng(experiment.seed).permutation(dataset.train)[:IMAGES]
    with jax.enable_x64(experiment.precision == "float64"):
        return Sanity(
            initial_loss(experiment, dataset, chosen), overfit(experiment, dataset, chosen)
        )


def _classifier_loss(experiment: Experiment) -> CrossEntropy:
    if not isinstance(experiment.loss, CrossEntropy):
        raise UserError("--sanity checks classifiers: this experiment's loss is no cross-entropy")
    return experiment.loss


def initial_loss(experiment: Experiment, dataset: Dataset, chosen: np.ndarray) -> InitialLoss:
    """The loss of the first state on some images, with what its last dense layer predicts.

    Whatever the network computes before its last dense layer, the kernel of that layer was drawn
    independently of it. So the loss must be a typical one among those of other draws from the
    layer's initialiser, for which the logits are h·W + b.
    """
    loss = _classifier_loss(experiment)
    # Nothing is trained here: any optimizer does, also where the experiment's wants whole batches.
    untrained = dataclasses.replace(
        experiment, optimizer=Adam(), batch_size=BATCH_SIZE, patience=None
    )
    program = prepare(untrained, dataset)
    state = program.initial_state(experiment.seed)
    images, labels = device_data.gather(program.data, jnp.asarray(chosen))
    key = jax.random.fold_in(state.key, 0)
    last: dict[str, Any] = {}

    def note(call: Any, arguments: Any, options: Any, context: Any) -> Any:
        result = call(*arguments, **options)
        if isinstance(context.module, nn.Dense) and context.method_name == "__call__":
            last.update(module=context.module, inputs=arguments[0])
        return result

    def forward(params: Any, batch_stats: Any) -> tuple[Array, Array | None]:
        with nn.intercept_methods(note):
            # As the first step sees it: with the statistics of the batch.
            logits, _ = training.apply(experiment, params, batch_stats, images, True, key)
        return logits, last.get("inputs")

    logits, inputs = jax.jit(forward)(state.params, state.batch_stats)
    smoothing = loss.label_smoothing
    predicted, deviation = None, 0.0
    if inputs is not None and last["module"].features == logits.shape[-1]:
        initializer = last["module"].kernel_init

        def drawn(key: Array) -> Float[Array, ""]:
            kernel = initializer(key, (inputs.shape[-1], logits.shape[-1]), logits.dtype)
            return cross_entropy(inputs.astype(logits.dtype) @ kernel, labels, smoothing)

        losses = jax.jit(jax.vmap(drawn))(jax.random.split(key, _DRAWS))
        predicted, deviation = float(jnp.mean(losses)), float(jnp.std(losses))
    return InitialLoss(
        loss=float(cross_entropy(logits, labels, smoothing)),
        chance=math.log(logits.shape[-1]),
        predicted=predicted,
        deviation=deviation,
        penalty=float(loss.l2 * l2_penalty(state.params)),
    )


def overfit(experiment: Experiment, dataset: Dataset, chosen: np.ndarray) -> Overfit:
    """Trains on a few images alone until they are known by heart, or the steps are used up."""
    program = _memorising(experiment, dataset, chosen)
    state = program.initial_state(experiment.seed)
    limit = jax.device_put(np.int32(program.steps_per_epoch))
    loss, accuracy = math.inf, 0.0
    for epoch in range(STEPS // program.steps_per_epoch):
        state = training.train_chunk(
            program.static, state, program.data, program.order(state, epoch), program.hyper, limit
        )
        if (epoch + 1) % _CHECKED_EVERY == 0:
            totals = jax.device_get(program.evaluate(state.params, state.batch_stats, "train"))
            loss = float(totals["loss"]) / IMAGES
            accuracy = int(totals["correct"]) / IMAGES
            if accuracy >= ACCURACY:
                break
    return Overfit(accuracy, loss, int(state.step))


def _memorising(experiment: Experiment, dataset: Dataset, chosen: np.ndarray) -> Program:
    """The experiment's program on some images alone, without anything that hinders learning."""
    model = experiment.model
    if getattr(model, "dropout", 0.0):
        model = model.clone(dropout=0.0)
    plain = dataclasses.replace(
        experiment,
        model=model,
        optimizer=Adam(learning_rate=LEARNING_RATE),
        schedule=Constant(),
        loss=CrossEntropy(),
        augmentation=(),
        batch_size=BATCH_SIZE,
        clip_norm=None,
        patience=None,
    )
    program = prepare(plain, dataset)
    index = jnp.asarray(chosen, jnp.int32)
    known = (evaluation.padded(np.asarray(chosen), IMAGES), np.int32(IMAGES))
    return dataclasses.replace(program, train=index, splits={"train": jax.device_put(known)})
