"""Lanes all at once: one program over a leading axis of lanes, spread over the devices."""

import dataclasses
import functools
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int, PyTree

from jaxcv import evaluation, training
from jaxcv.course import Numbers
from jaxcv.data.dataset import Dataset
from jaxcv.device_data import DeviceData
from jaxcv.epochs import Pace
from jaxcv.experiment import Experiment, Views
from jaxcv.programs import Program
from jaxcv.sweeps.lanes import Clock, Lane, Outcome, Stopped, Watch, never
from jaxcv.training import TrainState

# Of states whose lanes lie along a first axis, what all lanes share: they are at the same step.
_LANES = cast(Any, TrainState)(params=0, batch_stats=0, opt_state=0, step=None, key=0, totals=0)


@functools.partial(jax.jit, static_argnames=("static",), donate_argnames=("states",))
def train_lanes(
    static: Experiment,
    states: TrainState,
    data: DeviceData,
    orders: Int[Array, "lanes steps batch"],
    hypers: dict[str, Array],
    limit: Int[Array, ""],
) -> TrainState:
    """`train_chunk` for lanes at the same step, with their own orders and hyperparameters."""
    chunk = functools.partial(training.train_chunk, static)
    return jax.vmap(chunk, in_axes=(_LANES, None, 0, 0, None), out_axes=_LANES)(
        states, data, orders, hypers, limit
    )


@functools.partial(jax.jit, static_argnames=("static",))
def evaluate_lanes(
    static: Experiment,
    params: PyTree,
    batch_stats: PyTree,
    data: DeviceData,
    hypers: dict[str, Array],
    index: Int[Array, " padded"],
    count: Int[Array, ""],
) -> dict[str, Array]:
    """`evaluate` for each lane, on the same images."""
    evaluate = functools.partial(evaluation.evaluate, static)
    return jax.vmap(evaluate, in_axes=(0, 0, None, 0, None, None))(
        params, batch_stats, data, hypers, index, count
    )


def together(
    program: Program,
    dataset: Dataset,
    experiments: Sequence[Experiment],
    signalled: Callable[[], int],
    width: int,
    watch: Watch = never,
) -> Iterator[Outcome]:
    """Trains all experiments at once, as lanes of one program.

    A lane that has stopped early, diverged or been pruned goes on being computed until all are
    over, and is not looked at again. With several devices each has its share of the lanes.

    Args:
        program: as for `in_turn`.
        dataset: as for `in_turn`.
        experiments: at most `width`.
        signalled: as for `in_turn`.
        width: lanes of the compiled program; what is short of it is filled up with the first
            experiment, so that a short bundle compiles nothing.
        watch: as for `in_turn`.

    Raises:
        Stopped: `signalled` told so.
    """
    start, clock = time.perf_counter(), Clock()
    devices = jax.devices()
    width = -(-width // len(devices)) * len(devices)
    filled = [*experiments, *[experiments[0]] * (width - len(experiments))]
    mine = [program.with_numbers(experiment) for experiment in filled]
    mesh = Mesh(np.asarray(devices), ("lanes",))
    shared = NamedSharding(mesh, PartitionSpec())
    apart = NamedSharding(mesh, PartitionSpec("lanes"))
    data, splits = jax.device_put((program.data, program.splits), shared)
    hypers = jax.device_put(stacked([m.hyper for m in mine]), apart)
    fresh = [m.initial_state(e.seed) for m, e in zip(mine, filled, strict=True)]
    keys = [state.key for state in fresh]
    step = jax.device_put(fresh[0].step, shared)
    states = jax.device_put(stacked(fresh), apart)._replace(step=step)
    lanes = [
        Lane(experiment, dataset, functools.partial(watch, i))
        for i, experiment in enumerate(experiments)
    ]
    steps, pace = program.steps_per_epoch, Pace()
    total = program.total_steps(experiments[0].epochs)

    def evaluated(
        params: PyTree, batch_stats: PyTree, name: str, views: Views = "plain"
    ) -> dict[str, Array]:
        index, count = splits[name]
        static = dataclasses.replace(program.static, views=views)
        return evaluate_lanes(static, params, batch_stats, data, hypers, index, count)

    def orders(epoch: int) -> Int[Array, "lanes steps batch"]:
        return jax.device_put(stacked([program.order_of(key, epoch) for key in keys]), apart)

    nothing = jax.device_put(np.int32(0))
    states = train_lanes(program.static, states, data, orders(0), hypers, nothing)
    jax.block_until_ready((states, evaluated(states.params, states.batch_stats, "test")))
    compile_seconds = time.perf_counter() - start

    for epoch in itertools.count():
        order, done, end = orders(epoch), 0, program.steps_in(epoch, total)
        with clock:
            began = time.perf_counter()
            while done < end:
                chunk = time.perf_counter()
                limit = pace.until(end, done, steps)
                states = train_lanes(program.static, states, data, order, hypers, limit)
                jax.block_until_ready(states.step)
                done = min(done + pace.limit, end)
                pace.learn(time.perf_counter() - chunk, steps)
                if signalled():
                    raise Stopped
            seconds = time.perf_counter() - began
            validation = None
            if len(dataset.validation):
                validation = evaluated(states.params, states.batch_stats, "validation")
            report = reports(program.static, states)
            host = jax.device_get((states.totals, validation, report))
        for i, lane in enumerate(lanes):
            if lane.over:
                continue
            totals, held_out, told = jax.tree.map(lambda x, i=i: x[i], host)
            numbers = Numbers(
                epoch=epoch + 1,
                step=epoch * steps + end,
                totals=totals,
                validation=held_out,
                report=told,
                seconds=seconds,
                images=end * program.batch_size,
            )
            parameters = functools.partial(lane_of, (states.params, states.batch_stats), i)
            lane.after(numbers, steps, parameters)
        if all(lane.over for lane in lanes):
            break
    with clock:
        chosen = [lane.tested() for lane in lanes]
        filling = [chosen[0]] * (width - len(chosen))
        params, batch_stats = jax.device_put(stacked([*chosen, *filling]), apart)
        needed: set[Views] = {views for lane in lanes for views in lane.views}
        tests: dict[Views, Any] = {
            views: jax.device_get(evaluated(params, batch_stats, "test", views))
            for views in sorted(needed)
        }
    for i, lane in enumerate(lanes):
        yield lane.outcome(
            jax.tree.map(lambda x, i=i: x[i], tests),
            compile_seconds=compile_seconds if i == 0 else 0.0,
            seconds=(time.perf_counter() - start) / len(lanes),
            busy=clock.seconds / len(lanes),
        )


@functools.partial(jax.jit, static_argnames=("static",))
def reports(static: Experiment, states: TrainState) -> dict[str, Array]:
    """What each lane's optimizer tells of its last step."""

    def report(state: TrainState) -> dict[str, Array]:
        return static.optimizer.report(state.opt_state)

    return jax.vmap(report, in_axes=(_LANES,))(states)


@jax.jit
def stacked(trees: Sequence[PyTree]) -> PyTree:
    """Trees of one structure as one, their leaves along a new first axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


@jax.jit
def lane_of(tree: PyTree, i: Int[Array, ""] | int) -> PyTree:
    """A copy of one lane."""
    return jax.tree.map(lambda leaf: leaf[i], tree)
