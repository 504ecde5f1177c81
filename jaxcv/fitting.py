"""The training loop with its side effects: the only one, and the only place that has them."""

import dataclasses
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcv.course import Course, Numbers
from jaxcv.data import load as load_data
from jaxcv.data.dataset import Dataset
from jaxcv.errors import UserError
from jaxcv.exits import Interrupted
from jaxcv.experiment import Experiment
from jaxcv.experiment_json import to_json
from jaxcv.files import read_json
from jaxcv.journal import Journal
from jaxcv.outcome import conclude
from jaxcv.programs import Pace, Program, prepare, resolve, run_epoch
from jaxcv.progress import Progress
from jaxcv.reports import write_report
from jaxcv.saving import Saver
from jaxcv.schedules import total_steps
from jaxcv.throughput import Throughput
from jaxcv.training import TrainState
from jaxcv.verification.quick import ensure_verified
from jaxcv.workdirs import Workdir


@dataclasses.dataclass(frozen=True)
class Result:
    """What a finished run gave.

    Attributes:
        workdir: where its files are.
        record: the fields of result.json.
    """

    workdir: Path
    record: dict[str, Any]


def fit(
    experiment: Experiment,
    workdir: Path | str | None = None,
    *,
    resume: bool = False,
    verify: bool = True,
    signalled: Callable[[], int] = lambda: 0,
) -> Result:
    """Trains an experiment and leaves its files in a workdir.

    Args:
        experiment: what to train.
        workdir: default runs/NAME. A finished one of the same experiment is left as it is.
        resume: go on from the newest checkpoint; where there is none, start.
        verify: before the first training on a backend, let it prove that it computes rightly
            (`jaxcv.verification.quick`).
        signalled: asked between chunks for a signal's number; at the first that is not 0 the
            state is saved and `Interrupted` raised.

    Raises:
        UserError: bad data, a workdir that holds something else, divergence, a full disk.
        VerificationFailed: the backend computes wrong results.
        Interrupted: `signalled` told so.

    Example:
        >>> result = fit(Experiment(model=models.CNN(), optimizer=Adam(1e-3)))  # doctest: +SKIP
        >>> result.record["test_accuracy"]  # doctest: +SKIP
        0.9917
    """
    path = Path(workdir or f"runs/{experiment.name}")
    with jax.enable_x64(experiment.precision == "float64"):
        return _fit(experiment, path, resume, verify, signalled)


def _fit(
    experiment: Experiment,
    path: Path,
    resume: bool,
    verify: bool,
    signalled: Callable[[], int],
) -> Result:
    workdir = Workdir(path)
    try:
        if workdir.look(experiment, resume) == "finished":
            page = path / "report.html"
            if not page.exists():  # killed between the result and its page
                write_report(path)
            print(f"{path} is finished; its report is {page}")
            return Result(path, read_json(workdir.result))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    dataset = load_data(
        experiment.data,
        experiment.data_dir,
        experiment.data_seed,
        experiment.validation,
        experiment.data_file,
        experiment.data_key,
    )
    experiment = resolve(experiment, dataset)
    program = prepare(experiment, dataset)
    if verify:
        ensure_verified()
    try:
        workdir.claim(experiment)
        return _Run(experiment, dataset, program, workdir, signalled).go()
    except OSError as error:
        raise UserError(f"cannot write in {path}: {error.strerror}") from None


class _Run:
    """One run: the values that its loop carries, and what writes them down."""

    def __init__(
        self,
        experiment: Experiment,
        dataset: Dataset,
        program: Program,
        workdir: Workdir,
        signalled: Callable[[], int],
    ):
        self.experiment = experiment
        self.dataset = dataset
        self.program = program
        self.workdir = workdir
        self.signalled = signalled
        self.total_steps = int(total_steps(program.steps_per_epoch, float(experiment.epochs)))
        self.course = Course(experiment)
        facts = {
            "image_shape": dataset.image_shape,
            "classes": dataset.classes,
            "multiplier": np.asarray(program.data.multiplier).tolist(),
            "offset": np.asarray(program.data.offset).tolist(),
        }
        self.saver = Saver(workdir.checkpoints, to_json(experiment), facts)

    def go(self) -> Result:
        """Trains to the end and writes everything down."""
        fresh = self.program.initial_state(self.experiment.seed)
        state, best = self.saver.restore(fresh)
        self.course = Course(self.experiment, best)
        steps = self.program.steps_per_epoch
        epochs = math.ceil(self.total_steps / steps)
        epoch = epochs if int(state.step) == self.total_steps else int(state.step) // steps
        if epoch:
            report = self.experiment.optimizer.report(state.opt_state)
            self.course = self.course.reported(jax.device_get(report))
        resumed = int(state.step) if self.saver.resumed_from else None
        shape = self.dataset.image_shape
        with (
            Progress() as progress,
            Journal(self.workdir, self.experiment, shape, epoch, resumed) as journal,
        ):
            state, compile_seconds = self.program.compile(state)
            progress.note(f"compiled in {compile_seconds:.1f} s")
            progress.start(epochs, steps, epoch + 1)
            pace, throughput = Pace(), Throughput()
            while epoch < epochs and not self.course.over(epoch):
                state, record = self.train_epoch(state, epoch, pace, progress)
                epoch += 1
                throughput = throughput.after(record)
                progress.epoch(record)
                journal.epoch(state, record)
                self.saver.epoch(state, self.course.best)
                if self.signalled():
                    self.stop(state)
            self.saver.save(state, self.course.best)
            result = conclude(
                self.workdir,
                self.experiment,
                self.dataset,
                self.program,
                journal,
                state,
                self.course.best,
                resumed_from_steps=self.saver.resumed_from,
                compile_seconds=compile_seconds,
                images_per_second=throughput.rate,
            )
        name = f"test_{self.experiment.loss.score.name}"
        page = self.workdir.path / "report.html"
        print(f"{name.replace('_', ' ')} {result[name]:.4f}; report: {page}")
        return Result(self.workdir.path, result)

    def train_epoch(
        self, state: TrainState, epoch: int, pace: Pace, progress: Progress
    ) -> tuple[TrainState, dict[str, Any]]:
        """One epoch and its evaluation; the state and its line of metrics.jsonl."""
        program, steps = self.program, self.program.steps_per_epoch
        order = program.order(state, epoch)
        first = done = int(state.step) - epoch * steps
        end = program.steps_in(epoch, self.experiment.epochs)
        start = time.perf_counter()
        for state, done in run_epoch(program, state, order, first, pace, end):  # noqa: B020
            rate = (done - first) * program.batch_size / (time.perf_counter() - start)
            progress.advance(done, rate)
            # After the epoch's last step its line and its evaluation are still to be written.
            if done < end and self.signalled():
                self.stop(state)
        seconds = time.perf_counter() - start
        numbers = Numbers(
            epoch=epoch + 1,
            step=int(state.step),
            totals=jax.device_get(state.totals),
            validation=self.validated(state),
            report=jax.device_get(self.experiment.optimizer.report(state.opt_state)),
            seconds=seconds,
            images=(done - first) * program.batch_size,
        )
        self.course, record = self.course.after(
            numbers, steps, lambda: jax.tree.map(jnp.copy, (state.params, state.batch_stats))
        )
        return state, record

    def validated(self, state: TrainState) -> dict[str, Any] | None:
        """The loss's totals of the validation images; None where there are none."""
        if len(self.dataset.validation) == 0:
            return None
        totals = self.program.evaluate(state.params, state.batch_stats, "validation")
        return jax.device_get(totals)

    def stop(self, state: TrainState) -> None:
        """Saves and ends the run because of a signal."""
        self.saver.save(state, self.course.best)
        raise Interrupted(
            self.signalled(),
            f"stopped at step {int(state.step)}; the same command with --resume goes on",
        )
