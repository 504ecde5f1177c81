"""Training as pure functions: a state, data and numbers in; a state and sums out.

`train_chunk` is the one compiled program that every run goes through. Its number of steps is an
argument, so a lone run, a lane of a sweep and a resumed run execute the same machine code
whatever the lengths of their chunks: bit-for-bit equality rests on that.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from jaxcv.device_data import DeviceData, gather, parameter_dtype
from jaxcv.experiment import DataDependent, EpochAugmentation, Experiment, merge
from jaxcv.schedules import Position, total_steps

# What a random stream is for: folded into the seed's key, so that no stream depends on how much
# another has drawn.
_INITIALISATION, _ORDER, _STEP, _IMAGES = 0, 1, 2, 3


class TrainState(NamedTuple):
    """All that changes while training; what a checkpoint holds.

    Attributes:
        params: trainable parameters
        batch_stats: running statistics of normalisation layers, and what else is kept and not
            trained; perhaps empty
        opt_state: state of the Optax transformation
        step: steps done
        key: made from the seed, never changed; every draw folds a stream and a counter into it
        totals: the loss's totals of the epoch so far
    """

    params: PyTree
    batch_stats: PyTree
    opt_state: PyTree
    step: Int[Array, ""]
    key: PRNGKeyArray
    totals: dict[str, Array]


def apply(
    experiment: Experiment,
    params: PyTree,
    batch_stats: PyTree,
    images: Float[Array, "batch height width channels"],
    train: bool,
    key: PRNGKeyArray | None = None,
) -> tuple[PyTree, PyTree]:
    """The network's outputs, and the running statistics after this batch.

    Under bfloat16 the parameters and images are rounded on the way in and the outputs widened on
    the way out; the gradient passes through the rounding, so the parameters it updates stay
    float32. Statistics are never rounded.
    """
    if experiment.precision == "bfloat16":
        params, images = jax.tree.map(lambda x: x.astype(jnp.bfloat16), (params, images))
    variables = {"params": params, "batch_stats": batch_stats}
    rngs = {"dropout": key} if key is not None else None
    outputs, updated = experiment.model.apply(
        variables, images, train=train, rngs=rngs, mutable=["batch_stats"] if train else []
    )
    outputs = jax.tree.map(lambda x: x.astype(parameter_dtype(experiment)), outputs)
    return outputs, updated.get("batch_stats", batch_stats) if train else batch_stats


def transform(
    experiment: Experiment, learning_rate: float | Float[Array, ""], beside: PyTree
) -> optax.GradientTransformationExtraArgs:
    """The optimizer at one step's learning rate, behind the clipping of the gradient.

    Args:
        experiment: has the optimizer.
        learning_rate: of the step.
        beside: totals and running statistics, or their shapes: the objective computes them too.
    """
    rule = experiment.optimizer.transform(learning_rate, beside)
    if experiment.clip_norm is not None:
        rule = optax.chain(optax.clip_by_global_norm(experiment.clip_norm), rule)
    return optax.with_extra_args_support(rule)


def asks_for_data(experiment: Experiment) -> bool:
    """Whether the network computes some of its statistics from training images."""
    return isinstance(experiment.model, DataDependent)


@functools.partial(jax.jit, static_argnames=("static",))
def data_statistics(static: Experiment, data: DeviceData, train: Int[Array, " n_train"]) -> PyTree:
    """What the network computes from training images before the first step, whatever the seed.

    A program of its own: every run on the same data is given the same bits.
    """
    model = static.model
    if not isinstance(model, DataDependent):
        return {}
    return model.data_statistics(gather(data, train[: model.sample_size])[0])


def init(
    experiment: Experiment,
    key: PRNGKeyArray,
    image_shape: tuple[int, int, int],
    statistics: PyTree = None,
) -> TrainState:
    """The state before the first step.

    Args:
        experiment: what is trained.
        key: from the seed alone; kept in the state.
        image_shape: height, width and channels of an image.
        statistics: from `data_statistics`; None leaves zeros in their place.
    """
    dtype = parameter_dtype(experiment)
    images = jnp.zeros((1, *image_shape), dtype)
    variables = experiment.model.init(jax.random.fold_in(key, _INITIALISATION), images)
    params = jax.tree.map(lambda x: x.astype(dtype), variables["params"])
    batch_stats = dict(variables.get("batch_stats") or {}) | (statistics or {})
    totals = jax.eval_shape(
        lambda: experiment.loss.totals(
            apply(experiment, params, batch_stats, images, train=False)[0],
            images,
            jnp.zeros(1, jnp.int32),
            params,
        )
    )
    opt_state = transform(experiment, 0.0, (totals, batch_stats)).init(params)
    return TrainState(
        params=params,
        batch_stats=batch_stats,
        # Types as a step leaves them, no weak ones: the second chunk would be compiled anew.
        opt_state=jax.tree.map(lambda x: jnp.asarray(x, x.dtype), opt_state),
        step=jnp.zeros((), jnp.int32),
        key=key,
        totals=jax.tree.map(lambda t: jnp.zeros(t.shape, t.dtype), totals),
    )


@functools.partial(jax.jit, static_argnames=("static", "image_shape"))
def initial_state(
    static: Experiment,
    key: PRNGKeyArray,
    hyper: dict[str, Array],
    image_shape: tuple[int, int, int],
    statistics: PyTree = None,
) -> TrainState:
    """`init`, compiled: the same bits for every run of the same static experiment."""
    return init(merge(static, hyper), key, image_shape, statistics)


@functools.partial(jax.jit, static_argnames=("batch_size",))
def epoch_order(
    key: PRNGKeyArray, epoch: Int[Array, ""], train: Int[Array, " n_train"], batch_size: int
) -> Int[Array, "steps batch"]:
    """The order in which an epoch visits the training images, a row a step.

    Args:
        key: the state's key.
        epoch: from 0; the order is a function of key and epoch alone.
        train: indices of the training images.
        batch_size: images a step; the last partial batch is dropped. A batch of all has no order.
    """
    if batch_size == train.shape[0]:
        return train[None]
    shuffled = jax.random.permutation(
        jax.random.fold_in(jax.random.fold_in(key, _ORDER), epoch), train
    )
    steps = train.shape[0] // batch_size
    return shuffled[: steps * batch_size].reshape(steps, batch_size)


def batch_of_step(
    experiment: Experiment,
    state: TrainState,
    data: DeviceData,
    order: Int[Array, "steps batch"],
    within: Int[Array, ""],
) -> tuple[Float[Array, "batch h w c"], Int[Array, " batch"], PRNGKeyArray]:
    """What a state's next step, the so-many-th of its epoch, sees.

    Returns:
        The augmented images, the labels, and the step's key.
    """
    # A batch of all images is taken as it lies: gathering it would cost a fifth of a dense step.
    whole = order.shape[1] == data.images.shape[0]
    index = None if whole else order[within]
    step_key = jax.random.fold_in(jax.random.fold_in(state.key, _STEP), state.step)
    images, labels = gather(data, index)
    for i, augment in enumerate(experiment.augmentation):
        if isinstance(augment, EpochAugmentation):
            key = jax.random.fold_in(jax.random.fold_in(state.key, _IMAGES), i)
            which = jnp.arange(len(images)) if index is None else index
            images = augment.in_epoch(key, images, which, state.step // order.shape[0])
        else:
            images = augment(jax.random.fold_in(step_key, i + 1), images)
    return images, labels, step_key


def train_step(
    experiment: Experiment,
    state: TrainState,
    data: DeviceData,
    order: Int[Array, "steps batch"],
    epochs: float | Float[Array, ""],
) -> TrainState:
    """One update: gather → augment → loss → gradient → optimizer."""
    steps_per_epoch = order.shape[0]
    within = state.step % steps_per_epoch
    images, labels, step_key = batch_of_step(experiment, state, data, order, within)

    def objective(params: PyTree) -> tuple[Array, tuple[dict[str, Array], PyTree]]:
        outputs, batch_stats = apply(
            experiment, params, state.batch_stats, images, train=True, key=step_key
        )
        totals = experiment.loss.totals(outputs, images, labels, params)
        return experiment.loss.objective(totals, params), (totals, batch_stats)

    optimizer = experiment.optimizer
    (value, (totals, batch_stats)), gradients = optimizer.value_and_grad(
        objective, state.params, state.opt_state
    )
    learning_rate = optimizer.learning_rate * experiment.schedule.factor(
        state.step, steps_per_epoch, epochs
    )
    rule = transform(experiment, learning_rate, (state.totals, state.batch_stats))
    updates, opt_state = rule.update(
        gradients,
        state.opt_state,
        state.params,
        # What a line search asks for; other rules take no notice.
        value=value,
        grad=gradients,
        objective=objective,
        # And what a rule asks for that changes in the course of a run, or averages over it.
        position=Position(state.step, steps_per_epoch, total_steps(steps_per_epoch, epochs)),
        batch_stats=batch_stats,
    )
    return TrainState(
        params=optax.apply_updates(state.params, updates),
        batch_stats=optimizer.statistics(opt_state, batch_stats),
        opt_state=opt_state,
        step=state.step + 1,
        key=state.key,
        totals=added(experiment, within == 0, state.totals, totals),
    )


def added(experiment: Experiment, first: Bool[Array, ""], so_far: PyTree, totals: PyTree) -> PyTree:
    """A batch's totals with those before it; alone where it is the first."""
    both = experiment.loss.combine(so_far, totals)
    return jax.tree.map(functools.partial(jnp.where, first), totals, both)


@functools.partial(jax.jit, static_argnames=("static",), donate_argnames=("state",))
def train_chunk(
    static: Experiment,
    state: TrainState,
    data: DeviceData,
    order: Int[Array, "steps batch"],
    hyper: dict[str, Array],
    limit: Int[Array, ""],
) -> TrainState:
    """At most `limit` steps, never past the end of the epoch that `order` belongs to.

    Args:
        static: the experiment without its numbers (`jaxcv.experiment.split`).
        state: donated: its buffers become the result's.
        data: images and labels on the device.
        order: this epoch's, from `epoch_order`.
        hyper: the experiment's numbers as arrays.
        limit: an array, so that chunks of any length share one compilation; 0 does nothing.
    """
    experiment = merge(static, hyper)
    steps_per_epoch = order.shape[0]
    count = jnp.minimum(limit, steps_per_epoch - state.step % steps_per_epoch)
    return jax.lax.fori_loop(
        0,
        count,
        lambda _, state: train_step(experiment, state, data, order, hyper["epochs"]),
        state,
    )
