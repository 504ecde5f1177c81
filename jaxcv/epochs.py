"""An epoch, chunk by chunk, and the order of the next one while it trains."""

import dataclasses
import time
from collections.abc import Callable, Iterator

import jax
import numpy as np
from jaxtyping import Array, Int

from jaxcv.devices import agreed
from jaxcv.programs import Program
from jaxcv.training import TrainState

# A chunk lasts about this long: the progress bar moves and a signal is heard twice a second, and
# the host's part of the time stays below a thousandth.
_CHUNK_SECONDS = 0.5


@dataclasses.dataclass
class Pace:
    """How many steps the next chunk may take: doubled until a chunk lasts long enough.

    The limit lives on the device and is sent there only when it changes.
    """

    limit: int = 1

    def __post_init__(self):
        self.on_device: Array = jax.device_put(np.int32(self.limit))

    def until(self, end: int, done: int, steps_per_epoch: int) -> Array:
        """The limit of the next chunk of an epoch that stops after `end` steps.

        A chunk ends with its epoch by itself; one that must stop before has a limit of its own.
        """
        if done + self.limit > end < steps_per_epoch:
            return jax.device_put(np.int32(end - done))
        return self.on_device

    def learn(self, seconds: float, most: int) -> None:
        """Takes longer chunks after one that lasted only so many seconds; never over `most`."""
        if seconds < _CHUNK_SECONDS and self.limit < most:
            self.limit = min(2 * self.limit, most)
            self.on_device = jax.device_put(np.int32(self.limit))


class Orders:
    """The orders of a run's epochs; one is computed while the epoch before it trains.

    Args:
        program: of the run.
        seed: of the run.
        total: steps of the run.
    """

    def __init__(self, program: Program, seed: int, total: int):
        self._program, self._total = program, total
        self._key = program.placement.copied(jax.random.key(seed))
        self._ready: tuple[int, Int[Array, "steps batch"]] | None = None

    def of(self, epoch: int) -> Int[Array, "steps batch"]:
        """The order of an epoch, counted from 0."""
        if self._program.batch_size == self._program.train.shape[0]:
            epoch = 0  # a batch of all has the same order in every epoch
        if self._ready is None or self._ready[0] != epoch:
            self._ready = epoch, self._program.order_of(self._key, epoch)
        return self._ready[1]

    def prepare(self, epoch: int) -> None:
        """Computes the order of an epoch, unless the run is over by then."""
        if self._program.steps_in(epoch, self._total) > 0:
            self.of(epoch)


def _nothing() -> None:
    pass


def run_epoch(
    program: Program,
    state: TrainState,
    order: Int[Array, "steps batch"],
    done: int,
    pace: Pace,
    end: int | None = None,
    meanwhile: Callable[[], None] = _nothing,
) -> Iterator[tuple[TrainState, int]]:
    """Trains to the end of an epoch, chunk by chunk; no array crosses between host and device.

    Args:
        program: what the chunks run on.
        state: donated.
        order: the epoch's.
        done: steps of the epoch that are done already.
        pace: how long the chunks are; it learns.
        end: stop after so many steps of the epoch; then, at most, one number goes to the device.
        meanwhile: called once, while the device computes the first chunk: to prepare what comes
            next.

    Yields:
        The state after each chunk, which is donated to the next one, and the steps of the epoch
        done by then.
    """
    end = program.steps_per_epoch if end is None else end
    while done < end:
        start = time.perf_counter()
        limit = pace.until(end, done, program.steps_per_epoch)
        state = program.advance(state, order, limit)
        meanwhile()
        meanwhile = _nothing
        jax.block_until_ready(state.step)
        done = min(done + pace.limit, end)
        # Processes that share a batch must go on with chunks of one length.
        seconds = agreed(time.perf_counter() - start)
        pace.learn(seconds, program.steps_per_epoch)
        yield state, done
