"""When a run saves its state, and what it finds when it goes on."""

import dataclasses
import math
import time
from pathlib import Path
from typing import Any

from jaxcv import checkpoints
from jaxcv.checkpoints import Checkpoint
from jaxcv.course import Best
from jaxcv.training import TrainState

# An epoch's end is passed over while the last checkpoint is younger.
_SECONDS = 1.0


@dataclasses.dataclass
class Saver:
    """A run's checkpoints.

    Attributes:
        directory: where they are.
        experiment: as JSON.
        facts: what a model needs to predict without the data set.
        resumed_from: the steps that the run was resumed from; `restore` adds one.
    """

    directory: Path
    experiment: dict[str, Any]
    facts: dict[str, Any]
    resumed_from: tuple[int, ...] = ()

    def __post_init__(self):
        self._at = -math.inf
        self._step = -1

    def restore(self, fresh: TrainState) -> tuple[TrainState, Best | None]:
        """The newest checkpoint's state and best parameters; the fresh state where none is.

        Raises:
            UserError: all checkpoints are damaged, or they are of another experiment.
        """
        saved = checkpoints.restore(self.directory)
        if saved is None:
            return fresh, None
        state = checkpoints.as_state(saved.state, fresh)
        self.resumed_from = (*saved.resumed_from, int(state.step))
        return state, saved.best

    def epoch(self, state: TrainState, best: Best | None) -> None:
        """Saves at an epoch's end, if it is time.

        Raises:
            OSError: the disk is full or the place cannot be written.
        """
        if time.monotonic() - self._at >= _SECONDS:
            self.save(state, best)

    def save(self, state: TrainState, best: Best | None) -> None:
        """Saves, unless this step has a checkpoint.

        Raises:
            OSError: the disk is full or the place cannot be written.
        """
        step = int(state.step)
        if step == self._step:
            return
        checkpoint = Checkpoint(self.experiment, state, best, self.resumed_from, self.facts)
        checkpoints.save(self.directory, checkpoint)
        self._at, self._step = time.monotonic(), step
