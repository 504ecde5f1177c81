"""Evaluation as pure functions: a split's totals, and what the network says of images."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, PyTree, Real

from jaxcv.device_data import DeviceData, gather
from jaxcv.experiment import Experiment, merge
from jaxcv.training import added, apply
from jaxcv.views import averaged

# Images of one evaluation step: large enough to fill two cores, small enough that the widest
# activations stay in a few hundred megabytes.
EVALUATION_BATCH = 250


def _seen(
    experiment: Experiment,
    params: PyTree,
    batch_stats: PyTree,
    data: DeviceData,
    chosen: Int[Array, " batch"],
    mask: Bool[Array, " batch"],
) -> tuple[PyTree, dict[str, Array]]:
    """The network's outputs in evaluation mode, averaged over the experiment's views; totals."""
    images, labels = gather(data, chosen)
    outputs = averaged(
        lambda view: apply(experiment, params, batch_stats, view, train=False)[0],
        images,
        experiment.views,
    )
    return outputs, experiment.loss.totals(outputs, images, labels, params, mask)


@functools.partial(jax.jit, static_argnames=("static",))
def evaluate(
    static: Experiment,
    params: PyTree,
    batch_stats: PyTree,
    data: DeviceData,
    hyper: dict[str, Array],
    index: Int[Array, " padded"],
    count: Int[Array, ""],
) -> dict[str, Array]:
    """The loss's totals over the first `count` images of `index`, in evaluation mode.

    Args:
        static: as for `train_chunk`.
        params: trainable parameters.
        batch_stats: running statistics.
        data: images and labels on the device.
        hyper: the experiment's numbers as arrays.
        index: which images, padded (`padded`), so that every split has one compilation.
        count: how many of them.
    """
    experiment = merge(static, hyper)

    def batch_totals(i: Int[Array, ""]) -> dict[str, Array]:
        chosen = jax.lax.dynamic_slice_in_dim(index, i * EVALUATION_BATCH, EVALUATION_BATCH)
        mask = i * EVALUATION_BATCH + jnp.arange(EVALUATION_BATCH) < count
        return _seen(experiment, params, batch_stats, data, chosen, mask)[1]

    shapes = jax.eval_shape(batch_totals, jnp.zeros((), jnp.int32))
    return jax.lax.fori_loop(
        0,
        (count + EVALUATION_BATCH - 1) // EVALUATION_BATCH,
        lambda i, totals: added(experiment, i == 0, totals, batch_totals(i)),
        jax.tree.map(lambda t: jnp.zeros(t.shape, t.dtype), shapes),
    )


def padded(index: Int[np.ndarray, " n"], length: int) -> Int[np.ndarray, " padded"]:
    """An index array filled up with zeros to whole evaluation batches of `length` or more."""
    size = -(-max(length, 1) // EVALUATION_BATCH) * EVALUATION_BATCH
    return np.pad(index, (0, size - len(index))).astype(np.int32)


@functools.partial(jax.jit, static_argnames=("static",))
def predictions(
    static: Experiment,
    params: PyTree,
    batch_stats: PyTree,
    data: DeviceData,
    hyper: dict[str, Array],
    index: Int[Array, " padded"],
    count: Int[Array, ""],
) -> tuple[Real[Array, "padded ..."], dict[str, Array]]:
    """What the network says of every image of `index`, and what `evaluate` returns, in one pass."""
    experiment = merge(static, hyper)
    seen = functools.partial(_seen, experiment, params, batch_stats, data)
    batches = index.reshape(-1, EVALUATION_BATCH)
    masks = (jnp.arange(len(index)) < count).reshape(batches.shape)

    def batch(
        totals: dict[str, Array], rest: tuple[Array, Array, Array]
    ) -> tuple[dict[str, Array], Array]:
        i, chosen, mask = rest
        outputs, more = seen(chosen, mask)
        return added(experiment, i == 0, totals, more), experiment.loss.predictions(outputs)

    _, shapes = jax.eval_shape(seen, batches[0], masks[0])
    nothing = jax.tree.map(lambda t: jnp.zeros(t.shape, t.dtype), shapes)
    totals, rows = jax.lax.scan(batch, nothing, (jnp.arange(len(batches)), batches, masks))
    return rows.reshape(-1, *rows.shape[2:]), totals
