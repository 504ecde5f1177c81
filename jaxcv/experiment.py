"""What an experiment is: a frozen value, its numeric hyperparameters, and its JSON form."""

import dataclasses
import functools
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Protocol, runtime_checkable

from flax import linen as nn
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from jaxcv.constraints import (
    TRACED,
    Count,
    Epochs,
    Index,
    Positive,
    Traced,
    check,
    is_numeric,
    shown,
)
from jaxcv.errors import UserError
from jaxcv.losses import CrossEntropy, Loss
from jaxcv.metrics import ACCURACY
from jaxcv.optimizers import Optimizer
from jaxcv.schedules import Constant, Schedule

Precision = Literal["float32", "bfloat16", "float64"]
Normalization = Literal["mean_pixel", "standardize"]
Views = Literal["plain", "mirror", "mirror_shift"]


@runtime_checkable
class Augmentation(Protocol):
    """A random transformation of a batch of normalised images."""

    def __call__(
        self, key: PRNGKeyArray, images: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch height width channels"]:
        """The transformed batch; each image has a draw of its own."""
        ...


@runtime_checkable
class EpochAugmentation(Augmentation, Protocol):
    """One whose draw for an image is related to those for the same image in other epochs."""

    def in_epoch(
        self,
        key: PRNGKeyArray,
        images: Float[Array, "batch height width channels"],
        index: Int[Array, " batch"],
        epoch: Int[Array, ""],
    ) -> Float[Array, "batch height width channels"]:
        """The transformed batch.

        Args:
            key: the same throughout a run.
            images: a batch.
            index: of each image in the data set.
            epoch: from 0.
        """
        ...


@runtime_checkable
class DataDependent(Protocol):
    """A network some of whose statistics are computed from training images, once, and then kept."""

    @property
    def sample_size(self) -> int:
        """How many of the first training images it asks for."""
        ...

    def data_statistics(self, images: Float[Array, "sample height width channels"]) -> PyTree:
        """Entries of the initial `batch_stats`, from images as the network sees them."""
        ...


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything that decides what a run computes.

    Attributes:
        model: the network, a Flax Linen module called as `model(images, train=...)`
        optimizer: the update rule and its learning rate
        loss: what is minimised
        schedule: factor on the learning rate over the epochs
        augmentation: random transformations of the training images, in order
        name: names the default workdir, runs/NAME
        data: digits, cifar10 or tfds:NAME; patches of photographs, or patches:NAME of images
        data_dir: where the data lie; else $JAXCV_DATA_DIR, $TFDS_DATA_DIR, the user's cache
        data_file: an HDF5 file that holds the patches, (N, 3, H, W) or (N, H, W, 3)
        data_key: the data set in that file, where more than one could be meant
        data_seed: which images are held out for validation, which patches are drawn
        validation: images held out of training (default: 5,000 of CIFAR-10, none of patches, a
            tenth elsewhere)
        normalization: pixels in [0, 1] minus the mean training pixel, or also divided by their
            standard deviation
        epochs: passes over the training images; of a part of one the steps that it begins
        batch_size: images a step, None for all at once; the last partial batch of an epoch is
            dropped
        clip_norm: largest global norm of a gradient
        patience: stop after so many epochs without a better score on the validation images, and
            keep the best parameters
        seed: initialisation, shuffling, augmentation and dropout
        precision: the network's compute type; parameters stay float32 under bfloat16
        views: the views of a test image over which the outputs are averaged: the image alone, with
            its mirror image, or these two and both shifted by a pixel either way along the diagonal
    """

    model: nn.Module
    optimizer: Optimizer
    loss: Loss = CrossEntropy()
    schedule: Schedule = Constant()
    augmentation: tuple[Augmentation, ...] = ()
    name: str = "experiment"
    data: str = "digits"
    data_dir: str | None = None
    data_file: str | None = None
    data_key: str | None = None
    data_seed: Index = 0
    validation: Index | None = None
    normalization: Normalization = "mean_pixel"
    epochs: Epochs = 10
    batch_size: Count | None = 128
    clip_norm: Positive | None = None
    patience: Count | None = None
    seed: Index = 0
    precision: Precision = "float32"
    views: Views = "plain"

    def __post_init__(self):
        """Refuses values out of range, so that no invalid experiment exists."""
        for part in parts(self).values():
            for name, value, hint in settings(part):
                check(name, value, hint)
        names = [name for _, name, _, _ in flat_settings(self)]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise TypeError(f"two parts of the experiment have a field named {doubled[0]!r}")
        if self.name in ("", ".", "..") or "/" in self.name:
            raise UserError(f"name must be a file's name, not {shown(self.name)}")
        if self.patience is not None and self.validation == 0:
            raise UserError("--patience needs validation images: --validation 0 leaves none")
        if self.views != "plain" and self.loss.score != ACCURACY:
            raise UserError(
                f"--views {self.views} is for losses whose score is the accuracy; this one's is "
                f"the {self.loss.score.name}: leave it out"
            )


PARTS = ("model", "optimizer", "loss", "schedule")

# Fields that decide which numbers go in, not which program is compiled.
_NOT_COMPILED = {
    "name": "static",
    "data": "",
    "data_dir": None,
    "data_file": None,
    "data_key": None,
    "data_seed": 0,
    "validation": None,
    "epochs": 1,
    "patience": None,
    "seed": 0,
    "views": "plain",  # of the train chunk: evaluation is given those that are asked for
}


def parts(experiment: Experiment) -> dict[str, Any]:
    """The experiment itself under "" and each of its parts under its path."""
    named: dict[str, Any] = {"": experiment}
    for field in PARTS:
        named[field] = getattr(experiment, field)
    for i, part in enumerate(experiment.augmentation):
        named[f"augmentation.{i}"] = part
    return named


@functools.cache
def field_hints(cls: type) -> dict[str, Any]:
    """The annotations of a part's class, constraints included."""
    return typing.get_type_hints(cls, include_extras=True)


def settings(part: Any) -> Iterator[tuple[str, Any, Any]]:
    """Name, value and annotation of each plain field of a part: no parts, no Flax internals."""
    hidden = (*PARTS, "augmentation") if isinstance(part, Experiment) else ("parent", "name")
    for field in dataclasses.fields(part):
        hint = field_hints(type(part))[field.name]
        if field.init and field.name not in hidden:
            yield field.name, getattr(part, field.name), hint


def flat_settings(experiment: Experiment) -> Iterator[tuple[str, str, Any, Any]]:
    """Path of the part, name, value and annotation of every setting: what the flags are."""
    for path, part in parts(experiment).items():
        for name, value, hint in settings(part):
            yield path, name, value, hint


def replace_settings(experiment: Experiment, values: Mapping[tuple[str, str], Any]) -> Experiment:
    """The experiment with some settings, named by (path of the part, field), replaced."""

    def changed(path: str, part: Any) -> Any:
        mine = {name: value for (where, name), value in values.items() if where == path}
        return dataclasses.replace(part, **mine) if mine else part

    whole = changed("", experiment)
    return dataclasses.replace(
        whole,
        **{path: changed(path, getattr(experiment, path)) for path in PARTS},
        augmentation=tuple(
            changed(f"augmentation.{i}", part) for i, part in enumerate(experiment.augmentation)
        ),
    )


# --- the numeric half and the static half ------------------------------------------------------


def split(experiment: Experiment) -> tuple[Experiment, dict[str, Any]]:
    """Separates what shapes the compiled program from the numbers it takes.

    Returns:
        The static half, hashable and equal for experiments that can share one compilation, with
        every number replaced by a placeholder; and the numbers by name, floats and tuples of
        floats, among them `epochs`, which schedules need.
    """
    hyper: dict[str, Any] = {"epochs": float(experiment.epochs)}
    values: dict[tuple[str, str], Any] = {("", k): v for k, v in _NOT_COMPILED.items()}
    for path, name, value, hint in flat_settings(experiment):
        if is_numeric(hint) and value is not None:
            hyper[name] = value
            values[path, name] = (TRACED,) * len(value) if isinstance(value, tuple) else TRACED
    return replace_settings(experiment, values), hyper


def merge(static: Experiment, hyper: Mapping[str, Any]) -> Experiment:
    """The inverse of `split` but for what is not compiled: numbers, arrays or tracers go in."""
    values = {}
    for path, name, value, _ in flat_settings(static):
        if isinstance(value, Traced):
            values[path, name] = hyper[name]
        elif isinstance(value, tuple) and any(isinstance(v, Traced) for v in value):
            values[path, name] = tuple(hyper[name][i] for i in range(len(value)))
    return replace_settings(static, values)
