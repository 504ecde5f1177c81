"""Lanes one after another, through the very programs of a lone run: with the same bits."""

import functools
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from jaxcv.course import Numbers
from jaxcv.data.dataset import Dataset
from jaxcv.epochs import Orders, Pace, run_epoch
from jaxcv.experiment import Experiment, Views
from jaxcv.programs import Program
from jaxcv.sweeps.lanes import Clock, Lane, Outcome, Stopped, Watch, never


def in_turn(
    program: Program,
    dataset: Dataset,
    experiments: Sequence[Experiment],
    signalled: Callable[[], int],
    watch: Watch = never,
) -> Iterator[Outcome]:
    """Trains one experiment after another through the programs of a lone run.

    Args:
        program: of any of them; the others differ in numbers alone.
        dataset: that the program's data are.
        experiments: share their static half, their data and their number of epochs.
        signalled: asked between chunks; what is not 0 stops everything.
        watch: told the place of an experiment in the list and its score after each epoch, says
            whether to give it up.

    Raises:
        Stopped: `signalled` told so.
    """
    pace, compile_seconds = Pace(), None
    for i, experiment in enumerate(experiments):
        start, clock = time.perf_counter(), Clock()
        mine = program.with_numbers(experiment)
        state = mine.initial_state(experiment.seed)
        state, seconds = mine.compile(state) if compile_seconds is None else (state, 0.0)
        compile_seconds = seconds
        lane = Lane(experiment, dataset, functools.partial(watch, i))
        total = mine.total_steps(experiment.epochs)
        orders = Orders(mine, experiment.seed, total)
        for epoch in itertools.count():
            order, end = orders.of(epoch), mine.steps_in(epoch, total)
            ahead = functools.partial(orders.prepare, epoch + 1)
            with clock:
                began = time.perf_counter()
                chunks = run_epoch(mine, state, order, 0, pace, end, ahead)
                for state, _ in chunks:  # noqa: B007
                    if signalled():
                        raise Stopped
                seconds = time.perf_counter() - began
                validation = None
                if len(dataset.validation):
                    validation = mine.evaluate(state.params, state.batch_stats, "validation")
                report = experiment.optimizer.report(state.opt_state)
                host = jax.device_get((state.totals, validation, report))
            numbers = Numbers(
                epoch=epoch + 1,
                step=epoch * mine.steps_per_epoch + end,
                totals=host[0],
                validation=host[1],
                report=host[2],
                seconds=seconds,
                images=end * mine.batch_size,
            )
            parameters = functools.partial(copied, (state.params, state.batch_stats))
            lane.after(numbers, mine.steps_per_epoch, parameters)
            if lane.over:
                break
        with clock:
            tests: dict[Views, Any] = {
                views: jax.device_get(mine.evaluate(*lane.tested(), "test", views))
                for views in lane.views
            }
        yield lane.outcome(
            tests,
            compile_seconds=compile_seconds,
            seconds=time.perf_counter() - start,
            busy=clock.seconds,
        )


@jax.jit
def copied(tree: PyTree) -> PyTree:
    """A copy that a donation of the original does not touch, in one dispatch."""
    return jax.tree.map(jnp.copy, tree)
