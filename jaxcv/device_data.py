"""Data and numbers on the device: images as they are stored, and how bytes are normalised."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int, UInt8

from jaxcv.data.dataset import Dataset
from jaxcv.experiment import Experiment, Normalization


class DeviceData(NamedTuple):
    """A data set on the device: its images as they are stored, and how bytes are normalised.

    Attributes:
        images: all images, whatever split they belong to; numbers that are no bytes are what the
            network sees
        labels: class of each
        multiplier: what a byte is multiplied with; the same at every pixel, since a vector by
            channel halves the rate at which XLA:CPU reads bytes
        offset: what is subtracted then
    """

    images: UInt8[Array, "n height width channels"] | Float[Array, "n height width channels"]
    labels: Int[Array, " n"]
    multiplier: Float[Array, "height width channels"]
    offset: Float[Array, "height width channels"]


def normalization(
    images: UInt8[np.ndarray, "n height width channels"]
    | Float32[np.ndarray, "n height width channels"],
    train: Int[np.ndarray, " n_train"],
    kind: Normalization,
) -> tuple[Float[np.ndarray, " channels"], Float[np.ndarray, " channels"]]:
    """Multiplier and offset that normalise bytes, by channel, from the training images alone.

    mean_pixel: byte/255 − mean; standardize: (byte/255 − mean)/deviation. Mean and deviation are
    exact, from counts of the 256 values. A channel that never varies is not divided. Images that
    are no bytes are left as they are.
    """
    channels = images.shape[-1]
    if images.dtype != np.uint8:
        return np.ones(channels), np.zeros(channels)
    values = np.arange(256) / 255
    counts = np.stack(
        [np.bincount(images[train, ..., c].reshape(-1), minlength=256) for c in range(channels)]
    )
    mean = counts @ values / counts.sum(axis=1)
    if kind == "mean_pixel":
        return np.full(channels, 1 / 255), mean
    variance = np.sum(counts * (values - mean[:, None]) ** 2, axis=1) / counts.sum(axis=1)
    deviation = np.where(variance > 0, np.sqrt(variance), 1.0)
    return 1 / (255 * deviation), mean / deviation


def place(dataset: Dataset, experiment: Experiment) -> DeviceData:
    """Puts a data set on the default device, its bytes as bytes, with their normalisation."""
    dtype = parameter_dtype(experiment)
    multiplier, offset = (
        np.tile(values.astype(dtype), (*dataset.image_shape[:2], 1))
        for values in normalization(dataset.images, dataset.train, experiment.normalization)
    )
    images = dataset.images
    if images.dtype != np.uint8:
        images = images.astype(dtype)
    return DeviceData(*jax.device_put((images, dataset.labels, multiplier, offset)))


def facts(dataset: Dataset, data: DeviceData) -> dict[str, Any]:
    """What a trained network must be told of its data: their shape, classes and normalisation.

    And which they were, so that no run goes on with others.
    """
    return {
        "digest": dataset.digest,
        "image_shape": dataset.image_shape,
        "classes": dataset.classes,
        # Of any pixel: they are the same at each.
        "multiplier": np.asarray(data.multiplier)[0, 0].tolist(),
        "offset": np.asarray(data.offset)[0, 0].tolist(),
    }


def parameter_dtype(experiment: Experiment) -> Any:
    """The type of parameters, statistics and sums: bfloat16 is a type of computation only."""
    return np.float64 if experiment.precision == "float64" else np.float32


def arrays(hyper: Mapping[str, Any], experiment: Experiment) -> dict[str, Array]:
    """The numeric hyperparameters as arrays on the device, ready for `train_chunk`."""
    dtype = parameter_dtype(experiment)
    return jax.device_put({name: np.asarray(value, dtype) for name, value in hyper.items()})


def gather(
    data: DeviceData, index: Int[Array, " batch"] | None
) -> tuple[Float[Array, "batch h w c"], Int[Array, " batch"]]:
    """Images in the type of the parameters, bytes normalised, and labels; None: all as they lie."""
    images, labels = data.images, data.labels
    if index is not None:
        images, labels = images[index], labels[index]
    if images.dtype == jnp.uint8:
        images = images.astype(data.multiplier.dtype) * data.multiplier - data.offset
    return images, labels
