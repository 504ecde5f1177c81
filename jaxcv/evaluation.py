"""Evaluation as pure functions: a split's totals, and what the network says of images."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree, Real

from jaxcv.device_data import DeviceData, gather
from jaxcv.experiment import Experiment, merge
from jaxcv.training import added, apply
from jaxcv.views import averaged

# Images of one evaluation step: large enough to fill two cores, small enough that the widest
# activations stay in a few hundred megabytes.
EVALUATION_BATCH = 250


def tested(
    experiment: Experiment,
    params: PyTree,
    batch_stats: PyTree,
    images: Float[Array, "batch height width channels"],
) -> PyTree:
    """The network's outputs in evaluation mode, averaged over the experiment's views."""
    return averaged(
        lambda view: apply(experiment, params, batch_stats, view, train=False)[0],
        images,
        experiment.views,
    )


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
        images, labels = gather(data, chosen)
        outputs = tested(experiment, params, batch_stats, images)
        return experiment.loss.totals(outputs, images, labels, params, mask)

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
    index: Int[Array, " batch"],
) -> Real[Array, "batch ..."]:
    """What the network says of some images of the data set, in evaluation mode."""
    experiment = merge(static, hyper)
    images, _ = gather(data, index)
    return experiment.loss.predictions(tested(experiment, params, batch_stats, images))
