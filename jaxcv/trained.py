"""A trained model, loaded from its workdir and ready to predict."""

import dataclasses
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree, Real

from jaxcv import checkpoints, device_data, parameters, training
from jaxcv.errors import UserError
from jaxcv.experiment import Experiment
from jaxcv.experiment_json import from_json
from jaxcv.files import read_json
from jaxcv.models import intermediates
from jaxcv.parameters import Parameters
from jaxcv.parts import PART_TYPES
from jaxcv.views import averaged
from jaxcv.workdirs import Workdir


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained network with the normalisation it was trained with.

    Attributes:
        experiment: how it was trained.
        params: the final parameters, or the best ones where early stopping was on: those that the
            test images were for.
        batch_stats: running statistics that belong to them.
        classes: name of each class.
        multiplier: what a byte is multiplied with, by channel.
        offset: what is subtracted then, by channel.
    """

    experiment: Experiment
    params: PyTree
    batch_stats: PyTree
    classes: tuple[str, ...]
    multiplier: Float[np.ndarray, " channels"]
    offset: Float[np.ndarray, " channels"]

    def outputs(self, images: Real[np.ndarray, "batch height width channels"]) -> PyTree:
        """The network's outputs, such as logits, for images as they are in the data set."""
        with jax.enable_x64(self.experiment.precision == "float64"):
            return self._outputs(self._pixels(images))

    def predict(
        self, images: Real[np.ndarray, "batch height width channels"]
    ) -> Real[np.ndarray, "batch ..."]:
        """What the network says of images as they are in the data set, mostly bytes 0 to 255.

        A classifier's are class probabilities, an autoencoder's the images as it makes them again.
        They come from the views of an image that the experiment is tested with.
        """
        with jax.enable_x64(self.experiment.precision == "float64"):
            outputs = averaged(self._outputs, self._pixels(images), self.experiment.views)
            return np.asarray(self.experiment.loss.predictions(outputs))

    def intermediates(
        self, images: Real[np.ndarray, "batch height width channels"]
    ) -> dict[str, Array]:
        """The network's named activations (`jaxcv.models.intermediates`), outputs last."""
        variables = {"params": self.params, "batch_stats": self.batch_stats}
        with jax.enable_x64(self.experiment.precision == "float64"):
            return intermediates(self.experiment.model, variables, self._pixels(images))

    def _outputs(self, pixels: Float[Array, "batch height width channels"]) -> PyTree:
        return self._forward(self.params, self.batch_stats, pixels)

    def _pixels(self, images: Real[np.ndarray, "batch height width channels"]) -> Array:
        """Images as the network sees them."""
        return jnp.asarray(images, self.multiplier.dtype) * self.multiplier - self.offset

    @functools.cached_property
    def _forward(self):
        experiment = self.experiment

        @jax.jit
        def forward(params: PyTree, batch_stats: PyTree, pixels: Array) -> PyTree:
            return training.apply(experiment, params, batch_stats, pixels, train=False)[0]

        return forward


def load(workdir: Path | str, experiment: Experiment | None = None) -> Trained:
    """Loads the model that a run has trained.

    Args:
        workdir: of a finished run or trial of a sweep, or of a run that has written a checkpoint.
        experiment: what the workdir was trained with; default: read from its experiment.json,
            which can name only the parts that jaxcv knows.

    Raises:
        UserError: no experiment or checkpoint is there, or it is damaged.

    Example:
        >>> trained = load("runs/cnn")  # doctest: +SKIP
        >>> trained.predict(images).argmax(axis=1)  # doctest: +SKIP
        array([3, 8, 8, 0])
    """
    files = Workdir(Path(workdir))
    if experiment is None:
        experiment = from_json(read_json(files.experiment), PART_TYPES)
    found = _parameters(files, experiment)
    dtype = device_data.parameter_dtype(experiment)
    return Trained(
        experiment=experiment,
        params=found.params,
        batch_stats=found.batch_stats,
        classes=tuple(found.facts["classes"]),
        multiplier=np.asarray(found.facts["multiplier"], dtype),
        offset=np.asarray(found.facts["offset"], dtype),
    )


def _parameters(files: Workdir, experiment: Experiment) -> Parameters:
    """Those of a sweep's trial, or of the newest checkpoint."""
    if files.parameters.exists():
        return parameters.read(files.parameters)
    saved = checkpoints.restore(files.checkpoints)
    if saved is None:
        raise UserError(f"{files.path} has no checkpoint yet")
    best = saved.best if experiment.patience is not None else None
    chosen = best or saved.state
    return Parameters(chosen.params, chosen.batch_stats, saved.facts)
