"""One whole training step of each network against the same step in NumPy float64.

What `jaxcv.training` computes is traced and evaluated in float64 (`jaxcv.verification.float64`);
for networks of convolutions and dense layers that is itself held against gradients derived by hand.

The bound is measured where the step is computed. A program that adds up N terms one after another
behaves as if its inputs were off by ρ = γ̃_N of themselves (backward error; Higham, *Accuracy and
Stability of Numerical Algorithms*, 2nd ed., section 1.5). So the parameters are moved at random by
up to ρ of themselves, three times; twice the most that a result moves by, plus ρ of its size, is
its bound. The masks of ReLU and of pooling that are near enough to flip do so there.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcv import device_data, training
from jaxcv.errors import UserError
from jaxcv.experiment import Experiment, split
from jaxcv.losses import CrossEntropy, Loss
from jaxcv.models import MODELS
from jaxcv.optimizers import SGD
from jaxcv.reconstruction import SparseReconstruction
from jaxcv.verification.bounds import FLOAT32, probabilistic_gamma
from jaxcv.verification.float64 import evaluate, summed_terms
from jaxcv.verification.precisions import Precision, setting
from jaxcv.verification.rows import Row, compare, refused
from jaxcv.verification.running_error import Bounded
from jaxcv.verification.step_reference import numpy_step

BATCH, CHANNELS, LANES, MOVES = 8, 3, 2, 3
_SIZES = (8, 16, 32)

# The shallowest and narrowest of a family computes all that the others do.
_SETTINGS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "ChallengeNet": {"features": (8, 8, 8)},
        "DenseNet": {"depth": 7, "growth": 4},
        "ResNet": {"depth": 8},
        "ResNet9": {"features": (8, 8, 8, 8)},
        "ResNetStacks": {"blocks": 1, "width": 8},
        "Speedrun": {"features": (8, 8)},
    }
)

# Numbers that float32 holds, so that NumPy can be given the same.
_CLASSIFICATION = CrossEntropy(label_smoothing=0.125, l2=2.0**-10)
_LOSSES: Mapping[str, Loss] = MappingProxyType(
    {"Autoencoder": SparseReconstruction(2.0**-10, sparsity_weight=2.0, sparsity=0.125)}
)

Leaves = dict[str, np.ndarray]


class Lane(NamedTuple):
    """A state before the step, and the images of the step."""

    state: training.TrainState
    data: device_data.DeviceData
    order: Any


def experiments() -> Iterator[tuple[str, Experiment]]:
    """Each network by name, in an experiment that shows its gradient."""
    for name, model in MODELS.items():
        yield (
            name,
            Experiment(
                model=model(**_SETTINGS.get(name, {})),
                # A learning rate of 1 shows the gradient itself.
                optimizer=SGD(learning_rate=1.0),
                loss=_LOSSES.get(name, _CLASSIFICATION),
                batch_size=BATCH,
            ),
        )


def lanes_of(experiment: Experiment) -> list[Lane]:
    """Random states and batches, on images as small as the network takes."""
    for size in _SIZES:
        with contextlib.suppress(UserError):
            shape = (size, size, CHANNELS)
            return [lane(experiment, shape, seed) for seed in range(LANES)]
    raise ValueError(f"the network takes no images of {_SIZES} pixels")


def _initial(experiment: Experiment, shape: tuple[int, int, int], seed: int) -> training.TrainState:
    """Random parameters of the right shapes: no initialiser is compiled."""
    rng = np.random.default_rng(seed)
    state = jax.eval_shape(lambda: training.init(experiment, jax.random.key(0), shape))

    def draw(path: Any, leaf: Any) -> np.ndarray:
        fan_in = max(leaf.size // max(leaf.shape[-1], 1), 1) if leaf.ndim > 1 else 100
        centre = 1.0 if path[-1] in (_key("scale"), _key("var")) else 0.0
        return (centre + rng.standard_normal(leaf.shape) * fan_in**-0.5).astype(leaf.dtype)

    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), state._replace(key=()))
    return zeros._replace(
        params=jax.tree_util.tree_map_with_path(draw, state.params),
        batch_stats=jax.tree.map(np.abs, jax.tree_util.tree_map_with_path(draw, state.batch_stats)),
        key=jax.random.key(seed),
    )


def _key(name: str) -> Any:
    return jax.tree_util.DictKey(name)


def lane(experiment: Experiment, shape: tuple[int, int, int], seed: int) -> Lane:
    """A state and a batch of random images, in float32."""
    rng = np.random.default_rng(seed + 1000)
    data = device_data.DeviceData(
        images=jnp.asarray(rng.integers(0, 256, (BATCH, *shape)), np.uint8),
        labels=jnp.asarray(rng.integers(0, 10, BATCH), np.int32),
        multiplier=jnp.full(shape, 1 / 255, np.float32),
        offset=jnp.asarray(np.tile(rng.uniform(0.4, 0.6, CHANNELS), (*shape[:2], 1)), np.float32),
    )
    order = rng.permutation(BATCH).astype(np.int32)[None]
    return Lane(_initial(experiment, shape, seed), data, order)


def _step(experiment: Experiment, lane: Lane) -> training.TrainState:
    return training.train_step(experiment, *lane, 1.0)


def _leaves(state: training.TrainState) -> Leaves:
    """What a step changes, by name."""
    trees = {"params": state.params, "batch_stats": state.batch_stats, "totals": state.totals}
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(trees)
    }


# --- the expected step --------------------------------------------------------------------------


class ExactStep:
    """A step, traced once, to be evaluated in float64."""

    def __init__(self, experiment: Experiment, example: Lane):
        trace = jax.make_jaxpr(lambda lane: _step(experiment, lane), return_shape=True)
        self._program, self._shape = trace(example)
        self.terms = summed_terms(self._program.jaxpr)

    def __call__(self, lane: Lane) -> Leaves:
        """What the step changes, in float64."""
        results = evaluate(self._program, jax.tree.leaves(lane))
        return _leaves(jax.tree.unflatten(jax.tree.structure(self._shape), results))


def expected_step(step: ExactStep, lane: Lane, u: float, seed: int) -> dict[str, Bounded]:
    """What the step must give, with bounds, for products whose factors are rounded to u."""
    rng = np.random.default_rng(seed)
    rho = probabilistic_gamma(step.terms) + (0.0 if u <= FLOAT32 else 2 * u)
    values, before = step(lane), _leaves(lane.state)
    spread = dict.fromkeys(values, 0.0)
    for _ in range(MOVES):
        params = jax.tree.map(
            lambda p: p * (1 + rho * rng.uniform(-1, 1, p.shape)), lane.state.params
        )
        moved = lane._replace(state=lane.state._replace(params=params))
        start = _leaves(moved.state)
        for name, value in step(moved).items():
            # What the step adds is what moves; the parameters themselves are not off.
            shift = (value - start[name]) - (values[name] - before[name])
            spread[name] = max(spread[name], float(np.max(np.abs(shift))))
    sizes = {name: float(np.max(np.abs(values[name] - before[name]))) for name in values}
    # A gradient far below all others is a difference of terms that are not.
    least = 1e-3 * max(size for name, size in sizes.items() if name.startswith("params"))
    bounds = {}
    for name, value in values.items():
        size = max(sizes[name], least) if name.startswith("params") else sizes[name]
        error = 2 * spread[name] + rho * size + 2 * FLOAT32 * np.abs(value)
        bounds[name] = Bounded(value, error if value.dtype == np.float64 else 0.0)
    return bounds


# --- the step as it is run ----------------------------------------------------------------------


def _chunk(experiment: Experiment, lane: Lane) -> training.TrainState:
    """The step as runs compute it: in the loop of `train_chunk`."""
    static, hyper = split(experiment)
    # The state is donated: it gets arrays of its own.
    state = jax.tree.map(jnp.array, lane.state)
    numbers = device_data.arrays(hyper, experiment)
    return training.train_chunk(static, state, lane.data, lane.order, numbers, np.int32(1))


def _results(experiment: Experiment, lanes: Sequence[Lane], mode: str) -> list[Leaves]:
    if mode == "jit+vmap":
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *lanes)
        together = _leaves(jax.jit(jax.vmap(lambda lane: _step(experiment, lane)))(stacked))
        return [{name: leaf[i] for name, leaf in together.items()} for i in range(len(lanes))]

    def step(lane: Lane) -> training.TrainState:
        return _step(experiment, lane)

    program: Callable[[Lane], training.TrainState] = {
        "eager": step,
        "jit": jax.jit(step),
        "jit+scan": lambda lane: _chunk(experiment, lane),
    }[mode]
    return [_leaves(program(jax.tree.map(jnp.asarray, lane))) for lane in lanes]


def check_steps(
    name: str, experiment: Experiment, precisions: Sequence[Precision], deep: bool
) -> list[Row]:
    """A row for each mode of a network's step, and one for the expected step where that is known.

    Args:
        name: the network's.
        experiment: the network with the loss and the update rule.
        precisions: settings to compute under, the one that runs have last.
        deep: under each setting, and op by op too.
    """
    try:
        lanes = lanes_of(experiment)
        step = ExactStep(experiment, lanes[0])
    except Exception as error:
        return [refused(Row(f"{name} step", "traced", "float32", 0.0, 0.0), error)]
    rows = _against_numpy(name, experiment, step, lanes[0])
    for precision in precisions if deep else precisions[-1:]:
        expected = [
            expected_step(step, lane, precision.roundoff, seed) for seed, lane in enumerate(lanes)
        ]
        for mode in ("eager", "jit", "jit+vmap", "jit+scan") if deep else ("jit+vmap", "jit+scan"):
            row = Row(f"{name} step", mode, precision.label, 0.0, 0.0)
            with setting(precision.setting):
                rows.append(_check(row, experiment, lanes, expected))
    return rows


def _check(
    row: Row,
    experiment: Experiment,
    lanes: Sequence[Lane],
    expected: Sequence[Mapping[str, Bounded]],
) -> Row:
    try:
        results = _results(experiment, lanes, row.mode)
    except Exception as error:
        return refused(row, error)
    return _furthest(row, zip(results, expected, strict=True))


def _furthest(row: Row, pairs: Iterable[tuple[Leaves, Mapping[str, Bounded]]]) -> Row:
    for leaves, bounds in pairs:
        for name, bound in bounds.items():
            ulp, fraction = compare(leaves[name], bound)
            note = name if fraction > max(1.0, row.fraction) else row.note
            row = row._replace(
                ulp=max(row.ulp, ulp), fraction=max(row.fraction, fraction), note=note
            )
    return row


def _against_numpy(name: str, experiment: Experiment, step: ExactStep, lane: Lane) -> list[Row]:
    """The expected step against the one derived by hand, to 1e-10 of the largest element."""
    state, data = jax.tree.map(np.asarray, (lane.state._replace(key=()), lane.data))
    images = data.images[lane.order[0]] * np.float64(data.multiplier) - data.offset
    known = numpy_step(state.params, images, data.labels[lane.order[0]], experiment.loss)
    if known is None:
        return []
    bounds = {
        f"params/{path}": Bounded(leaf, 1e-10 * np.max(np.abs(leaf)))
        for path, leaf in known.items()
    }
    row = Row(f"{name} step traced", "NumPy", "float64", 0.0, 0.0)
    return [_furthest(row, [(step(lane), bounds)])]
