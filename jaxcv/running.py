"""One run from where it stands to its end: epochs, chunks, and what is saved between them."""

import contextlib
import dataclasses
import functools
import hashlib
import json
import math
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxcv import device_data
from jaxcv.course import Course, Numbers
from jaxcv.data.dataset import Dataset
from jaxcv.devices import is_common, is_first
from jaxcv.divergence import explained
from jaxcv.epochs import Orders, Pace, run_epoch
from jaxcv.errors import Astray, Diverged, UserError
from jaxcv.exits import Interrupted
from jaxcv.experiment import Experiment
from jaxcv.experiment_json import to_json
from jaxcv.journal import Journal, Silence
from jaxcv.outcome import conclude, tested
from jaxcv.programs import Program
from jaxcv.progress import Progress
from jaxcv.saving import Saver, Standing
from jaxcv.throughput import Throughput
from jaxcv.training import TrainState
from jaxcv.workdirs import FREE, Workdir


class Run:
    """One run: the values that its loop carries, and what writes them down.

    Args:
        experiment: what is trained, its settings resolved for the data.
        dataset: its data.
        program: the two on the devices.
        workdir: claimed and locked by the process that writes.
        checkpoint_minutes: between two checkpoints inside an epoch.
        signalled: asked between chunks for a signal's number; 0 while there is none.
    """

    def __init__(
        self,
        experiment: Experiment,
        dataset: Dataset,
        program: Program,
        workdir: Workdir,
        checkpoint_minutes: float,
        signalled: Callable[[], int],
    ):
        self.experiment = experiment
        self.dataset = dataset
        self.program = program
        self.workdir = workdir
        self.signalled = signalled
        self.total_steps = program.total_steps(experiment.epochs)
        self.orders = Orders(program, experiment.seed, self.total_steps)
        self.course = Course(experiment)
        self.reached = 0
        facts = device_data.facts(dataset, program.data)
        self.saver = Saver(
            workdir.checkpoints,
            workdir.metrics,
            to_json(experiment),
            facts,
            checkpoint_minutes,
            writes=is_first(),
        )

    def go(self) -> dict[str, Any]:
        """Trains to the end and writes everything down; the result's fields.

        Raises:
            UserError: the checkpoints are of no use, or training has diverged.
            OSError: the workdir cannot be written.
            Interrupted: `signalled` told so, and all is saved.
        """
        decisive = {k: v for k, v in self.saver.experiment.items() if k not in FREE}
        digest = hashlib.sha256(json.dumps(decisive).encode()).digest()
        if not is_common(int.from_bytes(digest[:6])):  # exact as a float
            raise UserError("the processes of this run have different flags; give all the same")
        fresh = self.program.initial_state(self.experiment.seed)
        begun = self.saver.restore(fresh)
        state, epoch = self.program.placement.copied(begun.state), begun.epoch
        # The best may be those of a part of an epoch, inside which this run goes on. Earlier ones
        # are gone then: only patience reads them, and with it no such run goes on (`is_longer`).
        kept = begun.best is not None and begun.best.epoch <= epoch
        self.course = Course(self.experiment, begun.best if kept else None)
        steps = self.program.steps_per_epoch
        if epoch and int(state.step) == min(epoch * steps, self.total_steps):
            report = self.experiment.optimizer.report(state.opt_state)
            self.course = self.course.reported(jax.device_get(report))
        resumed = int(state.step) if self.saver.resumed_from else None
        shape = self.dataset.image_shape
        if not is_common(int(state.step)):
            raise UserError(
                f"the processes see different checkpoints in {self.workdir.path}; it must be on a "
                "file system that all of them see"
            )
        with (
            Progress() as progress,
            contextlib.closing(self.saver),
            Journal(self.workdir, self.experiment, shape, epoch, resumed)
            if is_first()
            else Silence() as journal,
        ):
            state, compile_seconds = self.program.compile(state)
            progress.note(f"compiled in {compile_seconds:.1f} s")
            progress.start(math.ceil(self.total_steps / steps), steps, epoch + 1)
            try:
                result = self.train(begun, state, compile_seconds, journal, progress)
            except Diverged as error:
                if isinstance(error, Astray):  # nothing to look for
                    raise
                if jax.process_count() > 1:  # they would have to look together
                    hint = "--resume in one process finds the step and the layer"
                    raise Diverged(f"{error}; {hint}") from None
                progress.note("training diverged: looking for the step and the layer")
                raise self.diagnosed(error) from None
        if not is_first():
            return {}
        name = f"test_{self.experiment.loss.score.name}"
        page = self.workdir.report
        progress.note(f"{name.replace('_', ' ')} {result[name]:.4f}; report: {page}")
        return result

    def train(
        self,
        begun: Standing,
        state: TrainState,
        compile_seconds: float,
        journal: Journal | Silence,
        progress: Progress,
    ) -> dict[str, Any]:
        """Trains from where the run stands to its end, and concludes it; the result's fields.

        Args:
            begun: where the run stands, but for its state.
            state: the compiled program's.
            compile_seconds: that compiling has taken.
            journal: is written.
            progress: is shown.

        Raises:
            Diverged: a number is not finite, or the training loss beyond all reason.
        """
        epoch, spent = begun.epoch, begun.seconds
        steps = self.program.steps_per_epoch
        standing = dataclasses.replace(begun, state=state)
        pace, throughput = Pace(), Throughput()
        while not self.course.over(epoch, steps):
            state, record = self.train_epoch(state, epoch, spent, pace, progress)
            epoch, spent = epoch + 1, 0.0
            throughput = throughput.after(record)
            progress.epoch(record)
            journal.epoch(state, record)
            # A part of an epoch counts as begun: a longer run goes on inside it.
            whole = int(state.step) // steps
            seconds = record["seconds"] if whole < epoch else 0.0
            standing = Standing(state, whole, seconds, self.course.best)
            self.stop_if_signalled(standing)
            self.saver.epoch(standing)
        self.saver.save(standing)
        best = self.course.best
        if isinstance(journal, Silence):
            tested(self.experiment, self.dataset, self.program, state, best)
            return {}
        return conclude(
            self.workdir,
            self.experiment,
            self.dataset,
            self.program,
            journal,
            state,
            best,
            resumed_from_steps=self.saver.resumed_from,
            compile_seconds=compile_seconds,
            images_per_second=throughput.rate,
        )

    def train_epoch(
        self, state: TrainState, epoch: int, spent: float, pace: Pace, progress: Progress
    ) -> tuple[TrainState, dict[str, Any]]:
        """One epoch and its evaluation; the state and its line of metrics.jsonl.

        Args:
            state: perhaps inside the epoch already.
            epoch: counted from 0.
            spent: seconds that its steps so far have taken.
            pace: of the chunks.
            progress: shows them.
        """
        program, steps = self.program, self.program.steps_per_epoch
        order = self.orders.of(epoch)
        ahead = functools.partial(self.orders.prepare, epoch + 1)
        done, seconds = int(state.step) - epoch * steps, spent
        end = program.steps_in(epoch, self.total_steps)
        start = time.perf_counter() - spent
        chunks = run_epoch(program, state, order, done, pace, end, ahead)
        for state, done in chunks:
            seconds = time.perf_counter() - start
            progress.advance(done, done * program.batch_size / seconds)
            self.reached = epoch * steps + done
            standing = Standing(state, epoch, seconds, self.course.best)
            self.stop_if_signalled(standing)
            self.saver.chunk(standing)
        numbers = Numbers(
            epoch=epoch + 1,
            step=int(state.step),
            totals=jax.device_get(state.totals),
            validation=self.validated(state),
            report=jax.device_get(self.experiment.optimizer.report(state.opt_state)),
            seconds=seconds,
            images=end * program.batch_size,
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

    def diagnosed(self, error: Diverged) -> Diverged:
        """What has gone wrong, and where; the last good state is saved.

        Args:
            error: what was noticed.

        Raises:
            OSError: the state cannot be saved.
        """
        begun = self.saver.newest(self.program.initial_state(self.experiment.seed))
        told, good = explained(self.program, begun.state, self.reached, error)
        if good is not begun.state:
            done = int(good.step) // self.program.steps_per_epoch
            begun = Standing(good, done, best=self.course.best)
        self.saver.save(begun)
        return told

    def stop_if_signalled(self, standing: Standing) -> None:
        """Saves and ends the run if a signal has come.

        Raises:
            Interrupted: one has come, and all is saved.
        """
        number = self.signalled()
        if number:
            self.saver.save(standing)
            raise Interrupted(
                number,
                f"stopped at step {int(standing.state.step)}; the same command with --resume "
                "goes on",
            )
