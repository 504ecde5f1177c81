"""Where bundles of trials run: in this process, or somewhere else."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

from jaxcv.sweeps.lanes import Outcome
from jaxcv.sweeps.trainer import Trainer
from jaxcv.sweeps.trials import Trial, bundles

Ended = tuple[Trial, Outcome, dict[str, Any]]


@runtime_checkable
class Executor(Protocol):
    """Runs the trials of a round."""

    def run(self, trials: Sequence[Trial], signalled: Callable[[], int]) -> Iterator[Ended]:
        """Trains trials, in any order.

        Yields:
            Each as soon as it has ended, with what it leaves and the facts to predict with it.

        Raises:
            UserError: there are no such data, or an experiment does not fit them.
            Stopped: `signalled` told so.
        """
        ...


class Local:
    """Trains in this process.

    Args:
        trainer: does it.
        lanes: trials of a bundle.
    """

    def __init__(self, trainer: Trainer, lanes: int):
        self._trainer = trainer
        self._lanes = lanes

    def run(self, trials: Sequence[Trial], signalled: Callable[[], int]) -> Iterator[Ended]:
        """Trains bundle after bundle."""
        for bundle in bundles(trials, self._lanes):
            yield from self._trainer.train(bundle, signalled)
