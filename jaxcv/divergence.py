"""Where training left the finite numbers: the step, found by repeating, and the layer."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Bool, Int, PyTree

from jaxcv import device_data, training
from jaxcv.device_data import DeviceData
from jaxcv.errors import Diverged
from jaxcv.evaluation import EVALUATION_BATCH
from jaxcv.experiment import Experiment, merge
from jaxcv.programs import Program
from jaxcv.training import TrainState

# Results of a network's layers by place and name: JAX sorts a dictionary by its keys, and the order
# in which the layers finish must outlive that.
Layers = dict[tuple[int, str], Array]


@dataclasses.dataclass(frozen=True)
class BadStep:
    """The first step that left numbers which are not finite.

    Attributes:
        before: the state that it began with, which is finite.
        after: the state that it left.
    """

    before: TrainState
    after: TrainState


def explained(
    program: Program, begun: TrainState, until: int, noticed: Diverged
) -> tuple[Diverged, TrainState]:
    """What went wrong in a run, and where, found by repeating it.

    Args:
        program: what was trained.
        begun: a finite state from before, such as a checkpoint's; it is not donated.
        until: the step at which the run was when it was noticed.
        noticed: what was noticed.

    Returns:
        The error that names the step and the layer, and the last state that was good.
    """
    bad = repeated(program, begun, until)
    if isinstance(bad, BadStep):
        step = int(bad.after.step)
        epoch = 1 + (step - 1) // program.steps_per_epoch
        place, good = place_in_step(program, bad), bad.before
        where = f"{place or 'numbers'} are not finite in step {step} (epoch {epoch})"
    else:
        # The parameters are finite: it is what the network makes of images it does not learn from.
        splits = ("validation", "test")
        found = ((name, place_in_evaluation(program, bad, name)) for name in splits)
        name, place = next(((name, place) for name, place in found if place), ("", ""))
        if not place:
            return noticed, begun
        place, good = f"{place} for {name} images", begun
        where = f"{place} are not finite after step {int(bad.step)}"
    return Diverged(
        f"training diverged: {where}; the state of step {int(good.step)} is saved; try a smaller "
        "--learning-rate"
    ), good


def repeated(program: Program, state: TrainState, until: int) -> BadStep | TrainState:
    """Trains again, a step at a time and by the same compiled program, up to the bad step.

    Args:
        program: what is trained.
        state: a finite state from before; it is not donated.
        until: the last step to repeat.

    Returns:
        The first bad step; the last state where all are good.
    """
    one = jax.device_put(np.int32(1))
    state = _copied(program.placement.copied(state))
    order = None
    for done in range(int(state.step), until):
        epoch, within = divmod(done, program.steps_per_epoch)
        if order is None or within == 0:
            order = program.order(state, epoch)
        before = _copied(state)
        state = program.advance(state, order, one)
        if not _all_finite((state.params, state.batch_stats, state.totals)):
            return BadStep(before, state)
    return state


def place_in_step(program: Program, bad: BadStep) -> str:
    """Names what was not finite first in a step: forward, then backward, then in the update.

    Returns:
        Such as "the activations of Conv_1"; "" where looking at each layer shows nothing.
    """
    order = program.order(bad.before, int(bad.before.step) // program.steps_per_epoch)
    static, (data, hyper) = program.static, (program.data, program.hyper)

    def objective(params: PyTree, state: TrainState, order: Array, offsets: list[Array] | None):
        experiment = merge(static, hyper)
        within = state.step % order.shape[0]
        images, labels, key = training.batch_of_step(experiment, state, data, order, within)

        def forward() -> PyTree:
            stats = state.batch_stats
            return training.apply(experiment, params, stats, images, train=True, key=key)[0]

        outputs, layers = _tapped(forward, offsets)
        totals = experiment.loss.totals(outputs, images, labels, params)
        return experiment.loss.objective(totals, params), layers

    state = bad.before
    shapes = jax.eval_shape(lambda: objective(state.params, state, order, None)[1])
    zeros = [jnp.zeros(shape.shape, shape.dtype) for shape in shapes.values()]
    (value, layers), (by_params, by_layers) = jax.jit(
        jax.value_and_grad(objective, argnums=(0, 3), has_aux=True)
    )(state.params, state, order, zeros)
    for (_, name), activations in layers.items():
        if not _all_finite(activations):
            return f"the activations of {name}"
    if not _all_finite(value):
        return "the values of the loss"
    for (_, name), gradient in reversed(list(zip(layers, by_layers, strict=True))):
        if not _all_finite((gradient, _below(by_params, name))):
            return f"the gradients of {name}"
    for path, leaf in jax.tree_util.tree_leaves_with_path(
        (bad.after.params, bad.after.batch_stats)
    ):
        if not _all_finite(leaf):
            return f"the new values of {'/'.join(str(key.key) for key in path[1:])}"
    return ""


def place_in_evaluation(program: Program, state: TrainState, name: str) -> str:
    """Names the first layer whose activations are not finite for some images of a split.

    Args:
        program: has the images.
        state: with finite parameters.
        name: "validation" or "test".
    """
    experiment: Experiment = merge(program.static, program.hyper)
    index, count = program.splits[name]

    @jax.jit
    def layers_of(data: DeviceData, batch: Int[Array, " batch"]) -> Layers:
        images, _ = device_data.gather(data, batch)
        return _tapped(
            lambda: training.apply(
                experiment, state.params, state.batch_stats, images, train=False
            )[0],
            None,
        )[1]

    for start in range(0, int(count), EVALUATION_BATCH):
        layers = layers_of(program.data, index[start : start + EVALUATION_BATCH])
        for (_, layer), activations in layers.items():
            if not _all_finite(activations):
                return f"the activations of {layer}"
    return ""


def _tapped(forward: Callable[[], PyTree], offsets: list[Array] | None) -> tuple[PyTree, Layers]:
    """What a network computes, and what each of its layers does, in the order they finish.

    Args:
        forward: calls the network.
        offsets: added to each layer's result; gradients by them are those by the activations.
    """
    layers: Layers = {}

    def tap(call: Any, arguments: Any, keywords: Any, context: Any) -> Any:
        result = call(*arguments, **keywords)
        if context.method_name != "__call__" or not isinstance(result, jax.Array):
            return result
        name = "/".join(context.module.path) or "the network"
        if offsets is not None:
            result = result + offsets[len(layers)]
        layers[len(layers), name] = result
        return result

    with nn.intercept_methods(tap):
        outputs = forward()
    return outputs, layers


def _below(tree: PyTree, name: str) -> PyTree:
    """The parameters of a layer, those of the layers inside it left out."""
    for part in name.split("/"):
        tree = tree.get(part, {}) if hasattr(tree, "get") else {}
    return [leaf for leaf in tree.values() if not hasattr(leaf, "get")]


@jax.jit
def _finite(tree: PyTree) -> Bool[Array, ""]:
    leaves = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]
    return jnp.stack(leaves).all() if leaves else jnp.bool_(True)


def _all_finite(tree: PyTree) -> bool:
    return bool(_finite(tree))


def _copied(state: TrainState) -> TrainState:
    key = jax.random.wrap_key_data(jnp.copy(jax.random.key_data(state.key)))
    return jax.tree.map(jnp.copy, state._replace(key=None))._replace(key=key)
