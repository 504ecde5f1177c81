"""What a run writes down while it trains: lines, scalars, histograms and pictures."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import numpy as np

from jaxcv import plots
from jaxcv.errors import UserError
from jaxcv.experiment import Experiment
from jaxcv.figures import first_kernel
from jaxcv.logs import EventWriter, append_metrics, read_metrics, rewind_metrics
from jaxcv.training import TrainState
from jaxcv.workdirs import Workdir

_PICTURES_A_RUN = 20


class Silence:
    """Stands for the journal in a process that writes nothing."""

    def __enter__(self) -> "Silence":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def epoch(self, state: TrainState, record: Mapping[str, Any]) -> None:
        """Writes nothing."""


class Journal:
    """metrics.jsonl and the event files of a run, open while inside.

    Args:
        workdir: of the run.
        experiment: what is trained.
        image_shape: height, width and channels of an image.
        epoch: epochs done before; later lines, of a run that was killed, are dropped.
        resumed_from: the step that the run goes on from; None for a fresh one.

    Raises:
        UserError: metrics.jsonl does not have one line of each epoch done.
    """

    def __init__(
        self,
        workdir: Workdir,
        experiment: Experiment,
        image_shape: tuple[int, int, int],
        epoch: int,
        resumed_from: int | None,
    ):
        self._path = workdir.metrics
        self._epochs = math.ceil(experiment.epochs)
        self._image_shape = image_shape
        rewind_metrics(self._path, epoch)
        if [line.get("epoch") for line in self.lines()] != list(range(1, epoch + 1)):
            raise UserError(
                f"{self._path} does not have one line of each of the {epoch} epochs done; "
                f"put it back, or delete {workdir.path} to start afresh"
            )
        self._events = EventWriter(workdir.path, resumed_from)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._events.close()

    def epoch(self, state: TrainState, record: Mapping[str, Any]) -> None:
        """Writes an epoch's line and scalars, and now and then what its parameters look like.

        Raises:
            OSError: the disk is full or the place cannot be written.
        """
        append_metrics(self._path, record)
        step, epoch = record["step"], record["epoch"]
        self._events.scalars(step, record)
        if epoch == self._epochs or epoch % math.ceil(self._epochs / _PICTURES_A_RUN) == 0:
            params = jax.device_get(state.params)
            self._events.histograms(step, params)
            kernel = first_kernel(params, self._image_shape)
            if kernel is not None:
                # At most half a report's width: the training waits while it is compressed.
                weights = np.asarray(kernel, np.float32)
                grid = plots.filter_grid(weights, self._image_shape, width=plots.WIDTH // 2)
                self._events.images(step, "weights_by_epoch", grid)

    def figures(self, step: int, paths: Iterable[Path]) -> None:
        """Puts finished figures among the events."""
        for path in paths:
            self._events.images(step, path.stem, path)

    def lines(self) -> list[dict[str, Any]]:
        """The records of all epochs so far, also of those before the run was resumed."""
        return read_metrics(self._path)
