"""Where bundles of trials run: in this process, or somewhere else."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from jaxcv.experiment import Experiment
from jaxcv.sweeps.lanes import Outcome
from jaxcv.sweeps.pruning import BundlePruning, Pruning
from jaxcv.sweeps.records import Finished
from jaxcv.sweeps.trainer import Trainer
from jaxcv.sweeps.trials import Trial, bundles

Ended = tuple[Trial, Outcome, dict[str, Any]]


@runtime_checkable
class Executor(Protocol):
    """Runs the trials of a round."""

    def check(self, experiments: Sequence[Experiment]) -> None:
        """Refuses what could not be trained, before anything is.

        Raises:
            UserError: there are no such data, or an experiment does not fit them.
        """
        ...

    def run(
        self,
        trials: Sequence[Trial],
        finished: Mapping[int, Finished],
        signalled: Callable[[], int],
    ) -> Iterator[Ended]:
        """Trains those of a round's trials that are not finished, in any order.

        Args:
            trials: of the round.
            finished: what an earlier start has trained, by number.
            signalled: asked between chunks; what is not 0 stops everything.

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
        pruning: gives up trials early; None leaves all to train to their ends.
    """

    def __init__(self, trainer: Trainer, lanes: int, pruning: Pruning | None = None):
        self._trainer = trainer
        self._lanes = lanes
        self._pruning = pruning

    def check(self, experiments: Sequence[Experiment]) -> None:
        """Loads the data of each and works out the shapes of its network."""
        self._trainer.check(experiments, compared=self._pruning is not None)

    def run(
        self,
        trials: Sequence[Trial],
        finished: Mapping[int, Finished],
        signalled: Callable[[], int],
    ) -> Iterator[Ended]:
        """Trains bundle after bundle: the same ones, whatever an earlier start has finished."""
        if self._pruning is not None:
            self._pruning.begin(trials)
        for bundle in bundles(trials, self._lanes):
            done = {t.number: finished[t.number] for t in bundle if t.number in finished}
            left = [trial for trial in bundle if trial.number not in done]
            if self._pruning is None:
                yield from self._trainer.train(left, signalled)
            else:
                at_once = self._trainer.mode == "vmap"
                decisions = BundlePruning(self._pruning, bundle, done, at_once)
                yield from self._trainer.train(left, signalled, decisions.after)
                decisions.close()
