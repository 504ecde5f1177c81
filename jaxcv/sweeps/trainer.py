"""Trains bundles of trials in this process: data and programs are loaded once for many bundles."""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

import jax

from jaxcv import device_data
from jaxcv.data import load
from jaxcv.data.dataset import Dataset
from jaxcv.errors import UserError
from jaxcv.experiment import Experiment
from jaxcv.programs import Program, prepare, require_fit, resolve
from jaxcv.sweeps.in_turn import in_turn
from jaxcv.sweeps.lanes import Outcome, Watch, never
from jaxcv.sweeps.pruning import require_validation
from jaxcv.sweeps.together import together
from jaxcv.sweeps.trials import Trial, data_of, program_of
from jaxcv.verification.quick import ensure_verified

LaneMode = Literal["auto", "map", "vmap"]


def chosen_mode(mode: LaneMode) -> Literal["map", "vmap"]:
    """`auto` on this backend.

    On a CPU `map`: over convolution weights `vmap` becomes a grouped convolution, at half the
    speed of one lane after another. An accelerator idles on one small network: `vmap`.
    """
    if mode != "auto":
        return mode
    return "map" if jax.default_backend() == "cpu" else "vmap"


class Trainer:
    """Runs bundles one after another.

    Args:
        mode: how lanes advance.
        lanes: of the compiled program under `vmap`; halved when an allocation is refused.
        verify: before the first training on a backend, let it prove that it computes rightly.
        note: is told what a user should know.
    """

    def __init__(
        self,
        mode: LaneMode,
        lanes: int,
        verify: bool = True,
        note: Callable[[str], None] = lambda line: None,
    ):
        self._mode: LaneMode = mode
        self._width = lanes
        self._verify = verify
        self._note = note
        self._dataset = functools.lru_cache(maxsize=2)(load)
        # One at a time: a program keeps its data on the device.
        self._current: tuple[Any, Program, Dataset] | None = None

    @property
    def mode(self) -> Literal["map", "vmap"]:
        """How lanes advance on this backend."""
        return chosen_mode(self._mode)

    def check(self, experiments: Iterable[Experiment], compared: bool = False) -> None:
        """Refuses experiments that do not fit their data; nothing is compiled.

        Args:
            experiments: those that share a program are looked at once.
            compared: whether they need validation images.

        Raises:
            UserError: there are no such data, or an experiment does not fit them.
        """
        different = {(program_of(it), it.patience): it for it in experiments}.values()
        # Those that share their data follow each other: it is loaded once.
        for it in sorted(different, key=lambda it: repr(data_of(it))):
            dataset = self._dataset(*data_of(it))
            if compared:
                require_validation(dataset)
            with jax.enable_x64(it.precision == "float64"):
                require_fit(resolve(it, dataset), dataset)

    def prepared(self, experiment: Experiment) -> tuple[Experiment, Program, Dataset]:
        """The experiment as its data have it, its program and its data.

        Raises:
            UserError: there are no such data, or the experiment does not fit them.
        """
        dataset = self._dataset(*data_of(experiment))
        experiment = resolve(experiment, dataset)
        key = program_of(experiment)
        if self._current is None or self._current[0] != key:
            self._current = None
            self._current = key, prepare(experiment, dataset), dataset
        _, program, dataset = self._current
        return experiment, program, dataset

    def train(
        self,
        bundle: Sequence[Trial],
        signalled: Callable[[], int] = lambda: 0,
        watch: Watch = never,
    ) -> Iterator[tuple[Trial, Outcome, dict[str, Any]]]:
        """Trains the trials of a bundle, which may be empty.

        Args:
            bundle: trials that share their programs and their number of epochs.
            signalled: asked between chunks; what is not 0 stops everything.
            watch: told a trial's number and its score after each epoch, says whether to give it up.

        Yields:
            Each trial, its experiment as the data have it, with what it leaves, and the facts that
            a model needs to predict without the data.

        Raises:
            UserError: as `prepared`.
            Stopped: `signalled` told so.
            VerificationFailed: the backend computes wrong results.
        """
        if not bundle:
            return
        with jax.enable_x64(bundle[0].experiment.precision == "float64"):
            found = [self.prepared(trial.experiment) for trial in bundle]
            experiments = [experiment for experiment, _, _ in found]
            _, program, dataset = found[0]
            if watch is not never:
                require_validation(dataset)
            if self._verify:
                ensure_verified()
            facts = device_data.facts(dataset, program.data)
            numbers = [trial.number for trial in bundle]

            def told(i: int, epoch: int, score: float, over: bool) -> bool:
                return watch(numbers[i], epoch, score, over)

            train = in_turn if self.mode == "map" else self._together
            outcomes = train(program, dataset, experiments, signalled, told)
            for trial, experiment, outcome in zip(bundle, experiments, outcomes, strict=True):
                yield trial._replace(experiment=experiment), outcome, facts

    def _together(
        self,
        program: Program,
        dataset: Dataset,
        experiments: Sequence[Experiment],
        signalled: Callable[[], int],
        watch: Watch,
    ) -> Iterator[Outcome]:
        """All at once, or in halves where the device has no room for so many."""
        done = 0
        while done < len(experiments):
            some = experiments[done : done + self._width]
            watched = functools.partial(lambda first, i, *told: watch(first + i, *told), done)
            try:
                outcomes = list(together(program, dataset, some, signalled, self._width, watched))
            except jax.errors.JaxRuntimeError as error:
                if "RESOURCE_EXHAUSTED" not in str(error):
                    raise
                if self._width == 1:
                    raise UserError(
                        "the device has no room for a single trial; try a smaller --batch-size"
                    ) from None
                self._width //= 2
                self._note(f"no room for so many lanes; going on with {self._width} at a time")
                continue
            yield from outcomes
            done += len(outcomes)
