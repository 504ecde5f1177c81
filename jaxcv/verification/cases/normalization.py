"""Batch, group and layer normalisation: their bounds grow with the inputs' condition number.

A common offset of κ standard deviations leaves a mean with the error of κ; the formulas carry it
through, in the order in which `jaxcv.layers` and autodiff compute.
"""

import numpy as np

from jaxcv import layers, reference
from jaxcv.verification.cases.case import Case, Example, Rng, numbers
from jaxcv.verification.running_error import Axes, Bounded, rsqrt

MOMENTUM, EPSILON = 0.9, 1e-3


class Standardized:
    """What one pass over x leaves: deviations, 1/√(variance + ε), and the moments."""

    def __init__(self, x: np.ndarray, axes: Axes, epsilon: float):
        self.axes = axes
        self.count = float(np.prod([x.shape[axis] for axis in axes]))
        self.mean = Bounded(x).mean(axes, keepdims=True)
        self.deviation = Bounded(x) - self.mean
        self.variance = (self.deviation * self.deviation).mean(axes, keepdims=True)
        self.root = rsqrt(self.variance + _float32(epsilon))
        self.z = self.deviation * self.root

    def pull(self, dz: Bounded) -> Bounded:
        """What autodiff makes of x ↦ z: by the deviations, the root, the variance, the mean."""
        to_root = (dz * self.deviation).sum(self.axes, keepdims=True)
        to_variance = to_root * (-0.5 * (self.root * self.root * self.root))
        direct = dz * self.root
        squares = 2.0 * self.deviation * (to_variance / self.count)
        to_mean = -direct.sum(self.axes, keepdims=True) + -squares.sum(self.axes, keepdims=True)
        return direct + squares + to_mean / self.count


def _float32(value: float) -> Bounded:
    return Bounded(value, abs(float(np.float32(value)) - value))


def _values(rng: Rng, shape: tuple[int, ...], offset: float) -> np.ndarray:
    return numbers(rng, shape, False) + np.float32(offset)


def _affine(rng: Rng, channels: int) -> tuple[np.ndarray, np.ndarray]:
    scale = rng.uniform(0.5, 2.0, channels).astype(np.float32)
    return scale, numbers(rng, (channels,), False)


def _others(x: np.ndarray) -> Axes:
    return tuple(range(x.ndim - 1))


def _with_errors(values, formulas) -> tuple[Bounded, ...]:
    return tuple(
        Bounded(value, formula.error) for value, formula in zip(values, formulas, strict=True)
    )


def batch_norm_gradient_formula(
    dy: np.ndarray, x: np.ndarray, scale: np.ndarray
) -> tuple[Bounded, Bounded, Bounded]:
    """What autodiff makes of `batch_norm` in training: dx, dscale, dbias."""
    parts = Standardized(x, _others(x), EPSILON)
    dx = parts.pull(Bounded(dy) * scale)
    return dx, (Bounded(dy) * parts.z).sum(_others(x)), Bounded(dy).sum(_others(x))


def _batch_norm_training(shape: tuple[int, ...], offset: float, deep: bool) -> Case:
    channels = shape[-1]

    def draw(rng: Rng, integers: bool) -> Example:
        inputs = (_values(rng, shape, offset), *_affine(rng, channels))
        running = np.zeros(channels, np.float32), np.ones(channels, np.float32)
        return Example(inputs, running, numbers(rng, shape, False))

    def forward(example: Example, u: float) -> Bounded:
        x, scale, bias = example.inputs
        value, _, _ = reference.batch_norm(x, scale, bias, epsilon=EPSILON)
        return Bounded(value, (Standardized(x, _others(x), EPSILON).z * scale + bias).error)

    def backward(example: Example, u: float) -> tuple[Bounded, ...]:
        x, scale, _ = example.inputs
        values = reference.batch_norm_backward(example.upstream, x, scale, EPSILON)
        return _with_errors(values, batch_norm_gradient_formula(example.upstream, x, scale))

    def function(x, scale, bias, mean, var):
        return layers.batch_norm(x, scale, bias, mean, var, True, MOMENTUM, EPSILON)[0]

    return Case(
        op="batch_norm training",
        variant=f"{shape}, mean {offset:g}",
        function=function,
        draw=draw,
        forward=forward,
        backward=backward,
        deep=deep,
    )


def _batch_norm_statistics(shape: tuple[int, ...], offset: float, deep: bool) -> Case:
    channels = shape[-1]

    def draw(rng: Rng, integers: bool) -> Example:
        running = numbers(rng, (channels,), False), rng.uniform(1, 2, channels).astype(np.float32)
        return Example((_values(rng, shape, offset),), running, np.zeros((2, channels), np.float32))

    def forward(example: Example, u: float) -> Bounded:
        (x,), running = example.inputs, example.auxiliary
        _, *values = reference.batch_norm(x, None, None, running[0], running[1], momentum=MOMENTUM)
        parts = Standardized(x, _others(x), EPSILON)
        moved = [
            _float32(MOMENTUM) * old + _float32(1 - MOMENTUM) * new.reshape((channels,))
            for old, new in zip(running, (parts.mean, parts.variance), strict=True)
        ]
        return Bounded(np.stack(values), np.stack([m.error for m in moved]))

    def function(x, mean, var):
        import jax.numpy as jnp

        _, mean, var = layers.batch_norm(x, None, None, mean, var, True, MOMENTUM, EPSILON)
        return jnp.stack([mean, var])

    return Case(
        op="batch_norm statistics",
        variant=f"{shape}, mean {offset:g}",
        function=function,
        draw=draw,
        forward=forward,
        backward=None,
        deep=deep,
    )


def _batch_norm_evaluation(shape: tuple[int, ...], deep: bool) -> Case:
    channels = shape[-1]

    def draw(rng: Rng, integers: bool) -> Example:
        inputs = (_values(rng, shape, 0.0), *_affine(rng, channels))
        running = numbers(rng, (channels,), False), rng.uniform(1, 2, channels).astype(np.float32)
        return Example(inputs, running, numbers(rng, shape, False))

    def pieces(example: Example) -> tuple[Bounded, Bounded]:
        mean, var = example.auxiliary
        root = rsqrt(Bounded(var) + _float32(EPSILON))
        return (Bounded(example.inputs[0]) - mean) * root, root

    def forward(example: Example, u: float) -> Bounded:
        x, scale, bias = example.inputs
        value, _, _ = reference.batch_norm(
            x, scale, bias, *example.auxiliary, training=False, epsilon=EPSILON
        )
        return Bounded(value, (pieces(example)[0] * scale + bias).error)

    def backward(example: Example, u: float) -> tuple[Bounded, ...]:
        (x, scale, _), dy = example.inputs, example.upstream
        z, root = pieces(example)
        values = reference.batch_norm_backward(dy, x, scale, EPSILON, False, *example.auxiliary)
        formulas = (
            Bounded(dy) * scale * root,
            (Bounded(dy) * z).sum(_others(x)),
            Bounded(dy).sum(_others(x)),
        )
        return _with_errors(values, formulas)

    def function(x, scale, bias, mean, var):
        return layers.batch_norm(x, scale, bias, mean, var, False, MOMENTUM, EPSILON)[0]

    return Case("batch_norm evaluation", f"{shape}", function, draw, forward, backward, deep=deep)


def _by_example(op: str, shape: tuple[int, ...], groups: int | None, offset: float, deep: bool):
    """`group_norm` where there are groups, else `layer_norm`."""
    channels = shape[-1]
    extra = () if groups is None else (groups,)
    if groups is None:
        split, axes = shape, (len(shape) - 1,)
    else:
        split = (*shape[:-1], groups, channels // groups)
        axes = (*range(1, len(shape) - 1), len(shape))

    def draw(rng: Rng, integers: bool) -> Example:
        inputs = (_values(rng, shape, offset), *_affine(rng, channels))
        return Example(inputs, (), numbers(rng, shape, False))

    def forward(example: Example, u: float) -> Bounded:
        x, scale, bias = example.inputs
        value = getattr(reference, op)(x, scale, bias, *extra, EPSILON)
        z = Standardized(x.reshape(split), axes, EPSILON).z.reshape(shape)
        return Bounded(value, (z * scale + bias).error)

    def backward(example: Example, u: float) -> tuple[Bounded, ...]:
        (x, scale, _), dy = example.inputs, example.upstream
        values = getattr(reference, f"{op}_backward")(dy, x, scale, *extra, EPSILON)
        parts = Standardized(x.reshape(split), axes, EPSILON)
        dx = parts.pull((Bounded(dy) * scale).reshape(split)).reshape(shape)
        dscale = (Bounded(dy) * parts.z.reshape(shape)).sum(_others(x))
        return _with_errors(values, (dx, dscale, Bounded(dy).sum(_others(x))))

    return Case(
        op=op,
        variant=f"{shape}{'' if groups is None else f', {groups} groups'}, mean {offset:g}",
        function=lambda x, scale, bias: getattr(layers, op)(x, scale, bias, *extra, EPSILON),
        draw=draw,
        forward=forward,
        backward=backward,
        deep=deep,
    )


def cases() -> list[Case]:
    """Normalisations, near zero and far from it."""
    return [
        _batch_norm_training((4, 5, 3, 6), 0.0, False),
        _batch_norm_training((6, 3), 100.0, False),
        _batch_norm_training((32769, 3), 0.0, False),
        _batch_norm_training((32, 32, 32, 16), 1.0, True),
        _batch_norm_statistics((4, 5, 3, 6), 0.0, False),
        _batch_norm_statistics((6, 3), 100.0, False),
        _batch_norm_evaluation((4, 5, 3, 6), False),
        _batch_norm_evaluation((32, 32, 32, 16), True),
        _by_example("group_norm", (3, 4, 5, 6), 3, 0.0, False),
        _by_example("group_norm", (2, 3, 3, 4), 2, 100.0, False),
        _by_example("group_norm", (16, 32, 32, 64), 32, 1.0, True),
        _by_example("layer_norm", (3, 5, 12), None, 0.0, False),
        _by_example("layer_norm", (4, 7), None, 100.0, False),
        _by_example("layer_norm", (512, 1000), None, 1.0, True),
    ]
