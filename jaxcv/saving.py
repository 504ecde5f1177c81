"""When a run saves its state, and what it finds when it goes on."""

import dataclasses
import math
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jaxcv import checkpoints
from jaxcv.checkpoints import Checkpoint
from jaxcv.course import Best
from jaxcv.errors import Diverged, UserError
from jaxcv.experiment_json import differences
from jaxcv.files import sync
from jaxcv.runtime import versions
from jaxcv.training import TrainState
from jaxcv.workdirs import FREE, is_longer

# An epoch's end is passed over while the last checkpoint is younger.
_SECONDS = 1.0

# Versions whose change changes numbers.
_DECISIVE = ("jax", "jaxlib", "flax", "optax", "jaxcv")


@dataclasses.dataclass(frozen=True)
class Standing:
    """Where a run stands: all that it needs to go on.

    Attributes:
        state: the train state, on the device.
        epoch: epochs that are done, evaluation included.
        seconds: spent on the epoch after those.
        best: the best parameters so far.
    """

    state: TrainState
    epoch: int = 0
    seconds: float = 0.0
    best: Best | None = None


@dataclasses.dataclass
class Saver:
    """A run's checkpoints, written by a thread while the training goes on.

    Attributes:
        directory: where they are.
        metrics: the lines that a checkpoint counts on: they reach the disk before it does.
        experiment: as JSON.
        facts: what a model needs to predict without the data set.
        minutes: between two checkpoints inside an epoch.
        writes: whether it saves anything; of several processes only the first does.
        resumed_from: the steps that the run was resumed from; `restore` adds one.
    """

    directory: Path
    metrics: Path
    experiment: dict[str, Any]
    facts: dict[str, Any]
    minutes: float = math.inf
    writes: bool = True
    resumed_from: tuple[int, ...] = ()

    def __post_init__(self):
        self._at = time.monotonic()
        self._saved: tuple[int, int] | None = None
        self._writer = ThreadPoolExecutor(1, "checkpoint")
        self._pending: Future[None] | None = None

    def restore(self, fresh: TrainState) -> Standing:
        """Where the newest checkpoint stands; with the fresh state where none is.

        Raises:
            UserError: all checkpoints are damaged, or they are of another experiment or made with
                other versions.
        """
        saved = checkpoints.restore(self.directory)
        if saved is None:
            return Standing(fresh)
        begun = self._checked(saved, fresh)
        self.resumed_from = (*saved.resumed_from, int(begun.state.step))
        return begun

    def newest(self, fresh: TrainState) -> Standing:
        """As `restore`, for a look: the run does not go on from there.

        Raises:
            UserError: as for `restore`.
            OSError: what was still being written could not be.
        """
        self._finish()
        saved = checkpoints.restore(self.directory)
        return Standing(fresh) if saved is None else self._checked(saved, fresh)

    def chunk(self, standing: Standing) -> None:
        """Saves between two chunks, when the last checkpoint is so many minutes old.

        Raises:
            OSError: this or an earlier checkpoint cannot be written.
            Diverged: the state holds numbers that are not finite; it is not saved.
        """
        self._begin(standing, 60 * self.minutes)

    def epoch(self, standing: Standing) -> None:
        """Saves at an epoch's end, if it is time.

        Raises:
            OSError, Diverged: as for `chunk`.
        """
        self._begin(standing, 0.0 if self._saved is None else _SECONDS)

    def save(self, standing: Standing) -> None:
        """Saves, unless it is saved, and returns when all is on the disk.

        Raises:
            OSError, Diverged: as for `chunk`.
        """
        self._finish()
        if self._saved != (standing.epoch, int(standing.state.step)):
            self._begin(standing, 0.0)
            self._finish()

    def close(self) -> None:
        """Waits for the thread; what it could not write is not told any more."""
        self._writer.shutdown()

    def _begin(self, standing: Standing, age: float) -> None:
        """Hands a copy to the thread when the last checkpoint is so many seconds old."""
        if self._pending is not None and self._pending.done():
            self._finish()
        # A disk slower than the run: the next chunk asks again.
        if not self.writes or self._pending is not None or time.monotonic() - self._at < age:
            return
        # Copied, since the state's buffers become the next chunk's.
        state = jax.tree.map(np.array, standing.state._replace(key=np.uint32(0)))
        require_finite_state(state)
        key = jax.random.wrap_key_data(jnp.array(jax.random.key_data(standing.state.key)))
        checkpoint = Checkpoint(
            experiment=self.experiment,
            state=state._replace(key=key),
            epoch=standing.epoch,
            seconds=standing.seconds,
            best=standing.best,
            resumed_from=self.resumed_from,
            facts=self.facts,
            versions=versions(),
        )
        self._pending = self._writer.submit(self._write, checkpoint)
        self._at, self._saved = time.monotonic(), (standing.epoch, int(state.step))

    def _write(self, checkpoint: Checkpoint) -> None:
        if self.metrics.exists():
            sync(self.metrics)
            sync(self.metrics.parent)
        checkpoints.save(self.directory, checkpoint)

    def _finish(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def _checked(self, saved: Checkpoint, fresh: TrainState) -> Standing:
        """A checkpoint on the device, if it is this run's.

        Raises:
            UserError: it is of another experiment, or made with other versions.
        """
        changed = set(differences(saved.experiment, self.experiment)) - FREE
        if changed == {"epochs"} and is_longer(saved.experiment, self.experiment):
            changed = set()
        if changed:
            raise UserError(
                f"the checkpoint in {self.directory} is of a run with another "
                f"{', '.join(sorted(changed))}; choose another --workdir"
            )
        other = _other_versions(saved.versions, versions())
        if other:
            raise UserError(
                f"the checkpoint in {self.directory} was made with {other}; other versions "
                "compute other bits: go on with those, or start afresh in another --workdir"
            )
        if saved.facts.get("digest") != self.facts.get("digest"):
            raise UserError(
                f"the checkpoint in {self.directory} is of a run on other images than those that "
                "were found now; say with --data-dir where they are, or choose another --workdir"
            )
        state = checkpoints.as_state(saved.state, fresh)
        best = checkpoints.as_best(saved.best, fresh)
        return Standing(state, saved.epoch, saved.seconds, best)


def _other_versions(then: Mapping[str, Any], now: Mapping[str, str]) -> str:
    """The versions that were other, with what they are now; "" if they are the same."""
    return ", ".join(
        f"{name} {then.get(name)} (here {now[name]})"
        for name in _DECISIVE
        if then.get(name) != now[name]
    )


def require_finite_state(state: PyTree) -> None:
    """Refuses a state whose parameters, statistics or totals are not finite.

    An optimizer's state may hold infinities of its own.

    Raises:
        Diverged: it holds such a number.
    """
    for leaf in jax.tree.leaves((state.params, state.batch_stats, state.totals)):
        if not np.isfinite(leaf).all():
            raise Diverged(
                f"training diverged: step {int(state.step)} left numbers that are not "
                "finite; try a smaller --learning-rate"
            )
