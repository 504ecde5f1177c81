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
from jaxtyping import Float, PyTree

from jaxcv import checkpoints, plots, training
from jaxcv.checkpoints import Best, Checkpoint
from jaxcv.data import load as load_data
from jaxcv.data.dataset import Dataset
from jaxcv.errors import UserError
from jaxcv.exits import Interrupted
from jaxcv.experiment import Experiment
from jaxcv.experiment_json import to_json
from jaxcv.figures import first_kernel, write_figures
from jaxcv.files import read_json, write_json
from jaxcv.logs import EventWriter, append_metrics, read_metrics, rewind_metrics
from jaxcv.metrics import means
from jaxcv.programs import Pace, Program, prepare, resolve, run_epoch
from jaxcv.progress import Progress
from jaxcv.reports import write_report
from jaxcv.results import params_sha256, result_record
from jaxcv.training import TrainState
from jaxcv.verification.quick import ensure_verified
from jaxcv.workdirs import Workdir

_PICTURES_A_RUN = 20
_CHECKPOINT_SECONDS = 1.0


@dataclasses.dataclass(frozen=True)
class Result:
    """What a finished run gave.

    Attributes:
        workdir: where its files are.
        record: the fields of result.json.
    """

    workdir: Path
    record: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class _Timed:
    """Images and seconds of the whole epochs after the first, evaluation apart."""

    epochs: int = 0
    images: float = 0.0
    seconds: float = 0.0

    def after(self, record: dict[str, Any]) -> "_Timed":
        """With one epoch more; the first counts only until there is a second."""
        seconds, images = record["seconds"], record["seconds"] * record["images_per_second"]
        if self.epochs <= 1:
            return _Timed(self.epochs + 1, images, seconds)
        return _Timed(self.epochs + 1, self.images + images, self.seconds + seconds)

    @property
    def rate(self) -> float | None:
        """Images a second; None when no epoch was trained."""
        return self.images / self.seconds if self.epochs else None


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


def _refuse_divergence(loss: float | None, epoch: int) -> None:
    if loss is not None and not math.isfinite(loss):
        raise UserError(
            f"training diverged: the loss is not finite in epoch {epoch}; "
            "try a smaller --learning-rate"
        )


class _Run:
    """One run: the values that its loop carries, and the files it writes them to."""

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
        self.best: Best | None = None
        self.resumed_from: tuple[int, ...] = ()
        self.saved_at = -math.inf
        self.saved_step = -1
        self.facts = {
            "image_shape": dataset.image_shape,
            "classes": dataset.classes,
            "multiplier": np.asarray(program.data.multiplier).tolist(),
            "offset": np.asarray(program.data.offset).tolist(),
        }

    def go(self) -> Result:
        """Trains to the end and writes everything down."""
        state = self.restored(self.program.initial_state(self.experiment.seed))
        steps = self.program.steps_per_epoch
        epoch = int(state.step) // steps
        rewind_metrics(self.workdir.metrics, epoch)
        resumed = int(state.step) if self.resumed_from else None
        with Progress() as progress, EventWriter(self.workdir.path, resumed) as events:
            state, compile_seconds = self.program.compile(state)
            progress.note(f"compiled in {compile_seconds:.1f} s")
            progress.start(self.experiment.epochs, steps, epoch + 1)
            pace, timed = Pace(), _Timed()
            while epoch < self.experiment.epochs and not self.has_stopped_early(epoch):
                state, record = self.train_epoch(state, epoch, pace, progress)
                epoch += 1
                timed = timed.after(record)
                progress.epoch(record)
                self.write_down(state, record, events)
                if self.signalled():
                    self.stop(state)
            result = self.finish(state, epoch, compile_seconds, timed.rate, events)
        score = result.get("test_accuracy")
        print(f"test accuracy {score:.4f}; report: {self.workdir.path / 'report.html'}")
        return Result(self.workdir.path, result)

    def restored(self, fresh: TrainState) -> TrainState:
        """The newest checkpoint's state, or the fresh one."""
        saved = checkpoints.restore(self.workdir.checkpoints)
        if saved is None:
            return fresh
        self.best = saved.best
        state = checkpoints.as_state(saved.state, fresh)
        self.resumed_from = (*saved.resumed_from, int(state.step))
        return state

    def has_stopped_early(self, epoch: int) -> bool:
        """Whether patience has run out after so many epochs."""
        patience, best = self.experiment.patience, self.best
        return patience is not None and best is not None and epoch - best.epoch >= patience

    def train_epoch(
        self, state: TrainState, epoch: int, pace: Pace, progress: Progress
    ) -> tuple[TrainState, dict[str, Any]]:
        """One epoch and its evaluation; the state and its line of metrics.jsonl."""
        program, steps = self.program, self.program.steps_per_epoch
        order = program.order(state, epoch)
        first = done = int(state.step) - epoch * steps
        start = time.perf_counter()
        for state, done in run_epoch(program, state, order, first, pace):  # noqa: B020
            rate = (done - first) * program.batch_size / (time.perf_counter() - start)
            progress.advance(done, rate)
            # After the epoch's last step its line and its evaluation are still to be written.
            if done < steps and self.signalled():
                self.stop(state)
        seconds = time.perf_counter() - start
        train = means(jax.device_get(state.totals))
        _refuse_divergence(train["loss"], epoch + 1)
        validation: dict[str, float | None] = {"loss": None, "accuracy": None}
        if len(self.dataset.validation):
            totals = program.evaluate(state.params, state.batch_stats, "validation")
            validation = {**means(jax.device_get(totals))}
            # The training loss is of the parameters before each step: not of the last ones.
            _refuse_divergence(validation["loss"], epoch + 1)
        record = {
            "epoch": epoch + 1,
            "step": int(state.step),
            "train_loss": train["loss"],
            "train_accuracy": train["accuracy"],
            "val_loss": validation["loss"],
            "val_accuracy": validation["accuracy"],
            "learning_rate": self.learning_rate(int(state.step) - 1),
            "seconds": seconds,
            "images_per_second": (done - first) * program.batch_size / seconds,
        }
        accuracy = validation["accuracy"]
        if accuracy is not None and (self.best is None or accuracy > self.best.accuracy):
            params, batch_stats = jax.tree.map(jnp.copy, (state.params, state.batch_stats))
            self.best = Best(epoch + 1, accuracy, params, batch_stats)
        return state, record

    def learning_rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        factor = self.experiment.schedule.factor(
            jnp.int32(step), self.program.steps_per_epoch, float(self.experiment.epochs)
        )
        return float(self.experiment.optimizer.learning_rate * factor)

    def write_down(self, state: TrainState, record: dict[str, Any], events: EventWriter) -> None:
        """An epoch's line, events and checkpoint."""
        append_metrics(self.workdir.metrics, record)
        step, epoch, epochs = record["step"], record["epoch"], self.experiment.epochs
        events.scalars(step, record)
        if epoch == epochs or epoch % math.ceil(epochs / _PICTURES_A_RUN) == 0:
            params = jax.device_get(state.params)
            events.histograms(step, params)
            kernel = first_kernel(params, self.dataset.image_shape)
            if kernel is not None:
                weights = np.asarray(kernel, np.float32)
                grid = plots.filter_grid(weights, self.dataset.image_shape)
                events.images(step, "weights_by_epoch", grid)
        if time.monotonic() - self.saved_at >= _CHECKPOINT_SECONDS:
            self.save(state)

    def save(self, state: TrainState) -> None:
        """Writes a checkpoint, unless this step has one."""
        if int(state.step) == self.saved_step:
            return
        checkpoints.save(
            self.workdir.checkpoints,
            Checkpoint(to_json(self.experiment), state, self.best, self.resumed_from, self.facts),
        )
        self.saved_at, self.saved_step = time.monotonic(), int(state.step)

    def stop(self, state: TrainState) -> None:
        """Saves and ends the run because of a signal."""
        self.save(state)
        raise Interrupted(
            self.signalled(),
            f"stopped at step {int(state.step)}; the same command with --resume goes on",
        )

    def finish(
        self,
        state: TrainState,
        epoch: int,
        compile_seconds: float,
        images_per_second: float | None,
        events: EventWriter,
    ) -> dict[str, Any]:
        """Tests once, draws, and writes the result last."""
        self.save(state)
        stopping = self.experiment.patience is not None and self.best is not None
        chosen = self.best if stopping and self.best is not None else state
        test = means(
            jax.device_get(self.program.evaluate(chosen.params, chosen.batch_stats, "test"))
        )
        _refuse_divergence(test["loss"], epoch)
        metrics = read_metrics(self.workdir.metrics)
        best_epoch = self.best.epoch if self.best is not None else epoch
        shown_epoch = best_epoch if stopping else epoch
        figures = write_figures(
            self.workdir.figures,
            chosen.params,
            self.dataset,
            self.test_probabilities(chosen.params, chosen.batch_stats),
            metrics,
            best_epoch,
        )
        for figure in figures:
            events.images(int(state.step), figure.stem, figure)
        record = result_record(
            self.experiment,
            epochs=epoch,
            best_epoch=best_epoch,
            val_accuracy=metrics[shown_epoch - 1]["val_accuracy"],
            test_accuracy=test["accuracy"],
            params=state.params,
            sha256=params_sha256(state.params, state.batch_stats),
            resumed_from_steps=self.resumed_from,
            compile_seconds=compile_seconds,
            images_per_second=images_per_second,
        )
        write_json(self.workdir.result, record)
        write_report(self.workdir.path)
        return record

    def test_probabilities(
        self, params: PyTree, batch_stats: PyTree
    ) -> Float[np.ndarray, "n_test classes"]:
        """Class probabilities of every test image."""
        index = training.padded(self.dataset.test, len(self.dataset.test))
        batches = index.reshape(-1, training.EVALUATION_BATCH)
        rows = [
            training.probabilities(
                self.program.static, params, batch_stats, self.program.data, self.program.hyper, b
            )
            for b in batches
        ]
        return np.concatenate(jax.device_get(rows))[: len(self.dataset.test)]
