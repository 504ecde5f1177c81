"""An experiment made ready to run: its data and numbers on the device, its programs compiled."""

import dataclasses
import time
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray, PyTree, Real

from jaxcv import device_data, evaluation, training
from jaxcv.data.dataset import Dataset
from jaxcv.device_data import DeviceData
from jaxcv.devices import ONE, Devices, Placement, placement
from jaxcv.errors import UserError
from jaxcv.experiment import Experiment, Views, split
from jaxcv.reconstruction import SparseReconstruction
from jaxcv.schedules import total_steps
from jaxcv.training import TrainState


@dataclasses.dataclass(frozen=True)
class Program:
    """An experiment's data on the device with the numbers it trains with: what chunks run on."""

    static: Experiment
    hyper: dict[str, Array]
    data: DeviceData
    train: Int[Array, " n_train"]
    splits: dict[str, tuple[Array, Array]]
    image_shape: tuple[int, int, int]
    batch_size: int
    statistics: PyTree
    placement: Placement = ONE

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch."""
        return self.train.shape[0] // self.batch_size

    def total_steps(self, epochs: float) -> int:
        """Steps of a run of so many epochs."""
        return int(total_steps(self.steps_per_epoch, float(epochs)))

    def steps_in(self, epoch: int, total: int) -> int:
        """Steps of an epoch, counted from 0, of a run of so many steps: the last may be a part."""
        return min(self.steps_per_epoch, total - epoch * self.steps_per_epoch)

    def with_numbers(self, experiment: Experiment) -> "Program":
        """The same programs on the same data, with the numbers of another experiment."""
        _, hyper = split(experiment)
        return dataclasses.replace(self, hyper=device_data.arrays(hyper, experiment))

    def initial_state(self, seed: int) -> TrainState:
        """The state before the first step."""
        key, hyper = jax.random.key(seed), self.hyper
        if self.placement is not ONE:
            hyper = jax.device_get(hyper)
        state = training.initial_state(self.static, key, hyper, self.image_shape, self.statistics)
        # Memory that is refused raises here; a number of such a state would be waited for forever.
        return self.placement.copied(jax.block_until_ready(state))

    def advance(
        self, state: TrainState, order: Int[Array, "steps batch"], limit: Int[Array, ""]
    ) -> TrainState:
        """At most so many steps, never past the end of the order's epoch; the state is donated."""
        train_chunk = self.placement.compiled(training.train_chunk)
        limit = self.placement.copied(limit)
        return train_chunk(self.static, state, self.data, order, self.hyper, limit)

    def evaluate(
        self, params: PyTree, batch_stats: PyTree, name: str, views: Views = "plain"
    ) -> dict[str, Array]:
        """Totals over the validation or the test images, still on the device."""
        return self._evaluate(params, batch_stats, *self.splits[name], views)

    def _evaluate(
        self,
        params: PyTree,
        batch_stats: PyTree,
        index: Array,
        count: Array,
        views: Views = "plain",
    ) -> dict[str, Array]:
        evaluate = self.placement.compiled(evaluation.evaluate)
        static = self._viewed(views)
        return evaluate(static, params, batch_stats, self.data, self.hyper, index, count)

    def _viewed(self, views: Views) -> Experiment:
        """The static half with the views that evaluation is to average over."""
        return self.static if views == "plain" else dataclasses.replace(self.static, views=views)

    def predictions(
        self,
        params: PyTree,
        batch_stats: PyTree,
        index: Int[np.ndarray, " n"],
        views: Views = "plain",
    ) -> tuple[Real[np.ndarray, "n ..."], dict[str, Any]]:
        """What the network says of some images, and the totals over them, on the host."""
        predictions = self.placement.compiled(evaluation.predictions)
        static, count = self._viewed(views), np.int32(len(index))
        every = evaluation.padded(index, len(index))
        rows, totals = jax.device_get(
            predictions(static, params, batch_stats, self.data, self.hyper, every, count)
        )
        return rows[: len(index)], totals

    def compile(self, state: TrainState) -> tuple[TrainState, float]:
        """Compiles by running zero steps on zero images; the state and the seconds it took."""
        start = time.perf_counter()
        order = self.order(state, 0)
        nothing = self.placement.copied(jax.device_put(np.int32(0)))
        index, _ = self.splits["test"]
        state = self.advance(state, order, nothing)
        totals = self._evaluate(state.params, state.batch_stats, index, nothing)
        jax.block_until_ready((state, totals))
        return state, time.perf_counter() - start

    def order(self, state: TrainState, epoch: int) -> Int[Array, "steps batch"]:
        """The order of an epoch, counted from 0."""
        return self.order_of(state.key, epoch)

    def order_of(self, key: PRNGKeyArray, epoch: int) -> Int[Array, "steps batch"]:
        """The order of an epoch of the run with this key."""
        number = self.placement.copied(jax.device_put(np.int32(epoch)))
        epoch_order = self.placement.compiled(training.epoch_order, shared=True)
        return epoch_order(key, number, self.train, batch_size=self.batch_size)


def require_fit(experiment: Experiment, dataset: Dataset) -> None:
    """Refuses an experiment that does not fit its data: nothing is placed, nothing compiled.

    Args:
        experiment: with what the data decide filled in, by `resolve`.
        dataset: its data.

    Raises:
        UserError: the batch is larger than the training set, or early stopping has nothing to
            watch, or the optimizer needs an exact objective and would not have one, or the network
            has no use for images of this size.
    """
    batch_size = experiment.batch_size or len(dataset.train)
    if batch_size > len(dataset.train):
        raise UserError(
            f"--batch-size {batch_size} is larger than the training set of "
            f"{len(dataset.train)} images"
        )
    if experiment.patience is not None and len(dataset.validation) == 0:
        raise UserError("--patience needs validation images")
    if experiment.optimizer.exact and (
        batch_size < len(dataset.train) or experiment.augmentation or experiment.clip_norm
    ):
        raise UserError(
            f"{type(experiment.optimizer).__name__} needs the same objective at every step: "
            f"--batch-size None (all {len(dataset.train)} images), no augmentation, no --clip-norm"
        )
    static, hyper = split(experiment)
    jax.eval_shape(
        lambda key, hyper: training.initial_state(static, key, hyper, dataset.image_shape),
        jax.eval_shape(lambda: jax.random.key(0)),
        jax.eval_shape(lambda: device_data.arrays(hyper, experiment)),
    )


def prepare(experiment: Experiment, dataset: Dataset, devices: Devices = 1) -> Program:
    """Puts an experiment's data and numbers on the device, or on those that share the batch.

    Raises:
        UserError: as `require_fit`; or there are fewer devices, or the batch cannot be shared out
            among them.
    """
    require_fit(experiment, dataset)
    batch_size = experiment.batch_size or len(dataset.train)
    static, hyper = split(experiment)
    data, train = device_data.place(dataset, experiment), jax.device_put(dataset.train)
    length = max(len(dataset.validation), len(dataset.test))
    splits = {
        name: (evaluation.padded(index, length), np.int32(len(index)))
        for name, index in (("validation", dataset.validation), ("test", dataset.test))
    }
    where = placement(devices, batch_size)
    asks = training.asks_for_data(experiment)
    statistics = training.data_statistics(static, data, train) if asks else {}
    return Program(
        static=static,
        hyper=where.copied(device_data.arrays(hyper, experiment)),
        data=where.placed(data, batch_size),
        train=where.copied(train),
        splits=where.copied(jax.device_put(splits)),
        image_shape=dataset.image_shape,
        batch_size=batch_size,
        statistics=statistics if where is ONE else jax.device_get(statistics),
        placement=where,
    )


def resolve(experiment: Experiment, dataset: Dataset) -> Experiment:
    """The experiment with what the data decide filled in: the number of classes.

    Raises:
        UserError: a classifier, and images without labels; an autoencoder, and bytes.
    """
    if isinstance(experiment.loss, SparseReconstruction) and dataset.images.dtype == np.uint8:
        # Its outputs would be compared with normalised images, and shown beside bytes.
        raise UserError(
            f"--data {dataset.name} are whole images; an autoencoder learns patches of them: "
            f"--data patches:{dataset.name}"
        )
    if dataset.num_classes == 0 and hasattr(experiment.model, "num_classes"):
        raise UserError(f"--data {dataset.name} has no labels: there are no classes to tell apart")
    if getattr(experiment.model, "num_classes", dataset.num_classes) == dataset.num_classes:
        return experiment
    model = experiment.model.clone(num_classes=dataset.num_classes)
    return dataclasses.replace(experiment, model=model)
