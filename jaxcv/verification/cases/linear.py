"""Convolution and the dense layer: sums of products, bounded by the sums of their magnitudes."""

from typing import Any

import numpy as np
from flax import linen as nn

from jaxcv import ops, reference
from jaxcv.layers import Conv, Dense
from jaxcv.verification import minimal_filtering
from jaxcv.verification.bounds import contraction, summation
from jaxcv.verification.cases.case import Case, Example, Rng, numbers
from jaxcv.verification.running_error import Bounded

_GEOMETRIES: tuple[tuple[tuple[int, ...], tuple[int, ...], Any, Any, bool], ...] = (
    ((2, 7, 6, 2), (3, 2, 2, 3), (2, 1), ((1, 0), (2, 1)), False),
    ((2, 6, 5, 3), (3, 3, 3, 4), 1, "same", False),
    ((1, 8, 8, 2), (3, 4, 2, 3), 2, "same", False),
    ((2, 5, 5, 2), (1, 1, 2, 2), 3, "valid", False),
    ((8, 16, 16, 16), (3, 3, 16, 16), 1, "same", False),
    ((1, 1, 1, 1), (1, 1, 1, 1), 1, "valid", True),
    ((2, 5, 4, 3), (5, 4, 3, 2), 1, "valid", True),
    ((2, 9, 7, 1), (2, 3, 1, 5), (3, 2), 2, True),
    ((16, 32, 32, 3), (3, 3, 3, 64), 1, "same", True),
    ((16, 16, 16, 64), (3, 3, 64, 64), 1, "same", True),
    ((8, 16, 16, 64), (3, 3, 64, 128), 2, "same", True),
    # ops.winograd's, and so is that of 64 channels and features above.
    ((32, 7, 6, 24), (3, 3, 24, 32), 1, "same", False),
    ((64, 3, 5, 32), (3, 3, 32, 24), 1, ((1, 1), (0, 1)), False),
    ((4, 32, 32, 16), (7, 7, 16, 16), 1, 3, True),
)


_NOTHING = (0.0, 0.0, 0.0)


def _conv2d(size, window, stride, padding, deep) -> Case:
    def draw(rng: Rng, integers: bool) -> Example:
        x, kernel, bias = (numbers(rng, s, integers) for s in (size, window, window[3:]))
        output = reference.conv2d(x[:1], kernel, bias, stride, padding).shape[1:]
        return Example((x, kernel, bias), (), numbers(rng, (size[0], *output), integers))

    def forward(example: Example, u: float) -> Bounded:
        x, kernel, bias = example.inputs
        sizes = reference.conv2d(np.abs(x), np.abs(kernel), np.abs(bias), stride, padding)
        terms = int(np.prod(window[:3])) + 1
        value = reference.conv2d(x, kernel, bias, stride, padding)
        tiled, _, _ = minimal_filtering.errors(x, kernel, value, stride, padding) or _NOTHING
        return Bounded(value, contraction(terms, u) * sizes + tiled)

    def backward(example: Example, u: float) -> tuple[Bounded, ...]:
        x, kernel, _ = example.inputs
        dy = example.upstream
        _, *tiled = minimal_filtering.errors(x, kernel, dy, stride, padding) or _NOTHING
        values = reference.conv2d_backward(dy, x, kernel, stride, padding)
        sizes = reference.conv2d_backward(np.abs(dy), np.abs(x), np.abs(kernel), stride, padding)
        pixels = int(np.prod(dy.shape[:3]))
        terms = window[0] * window[1] * window[3]
        factors = (contraction(terms, u), contraction(pixels, u), summation(pixels))
        return tuple(
            Bounded(value, factor * size + more)
            for value, factor, size, more in zip(values, factors, sizes, (*tiled, 0.0), strict=True)
        )

    return Case(
        op="conv2d",
        variant=f"{size} * {window}, stride {stride}, padding {padding}",
        function=lambda x, kernel, bias: ops.conv2d(x, kernel, bias, stride, padding),
        draw=draw,
        forward=forward,
        backward=backward,
        contracts=True,
        exact=minimal_filtering.tile_sizes(size, window, stride, padding) is None,
        deep=deep,
    )


def _layer(size, window) -> Case:
    """The layer that networks use: Flax's, computing with ours."""
    case = _conv2d(size, window, 1, "same", False)

    def function(x, kernel, bias):
        layer = Conv(window[3], window[:2])
        return layer.apply({"params": {"kernel": kernel, "bias": bias}}, x)

    return Case(
        "layers.Conv", case.variant, function, case.draw, case.forward, case.backward, True, True
    )


def _dense(batch: int, features_in: int, features_out: int, deep: bool, ours: bool = False) -> Case:
    def draw(rng: Rng, integers: bool) -> Example:
        shapes = ((batch, features_in), (features_in, features_out), (features_out,))
        x, kernel, bias = (numbers(rng, shape, integers) for shape in shapes)
        return Example((x, kernel, bias), (), numbers(rng, (batch, features_out), integers))

    def function(x, kernel, bias):
        layer = Dense(features_out) if ours else nn.Dense(features_out)
        return layer.apply({"params": {"kernel": kernel, "bias": bias}}, x)

    def forward(example: Example, u: float) -> Bounded:
        sizes = reference.dense(*map(np.abs, example.inputs))
        value = reference.dense(*example.inputs)
        return Bounded(value, contraction(features_in + 1, u) * sizes)

    def backward(example: Example, u: float) -> tuple[Bounded, ...]:
        x, kernel, _ = example.inputs
        values = reference.dense_backward(example.upstream, x, kernel)
        sizes = reference.dense_backward(*map(np.abs, (example.upstream, x, kernel)))
        factors = (contraction(features_out, u), contraction(batch, u), summation(batch))
        return tuple(
            Bounded(value, factor * size)
            for value, factor, size in zip(values, factors, sizes, strict=True)
        )

    return Case(
        op="layers.Dense" if ours else "dense",
        variant=f"({batch}, {features_in}) @ ({features_in}, {features_out})",
        function=function,
        draw=draw,
        forward=forward,
        backward=backward,
        contracts=True,
        exact=True,
        deep=deep,
    )


def cases() -> list[Case]:
    """Convolutions and dense layers."""
    return [
        *(_conv2d(*geometry) for geometry in _GEOMETRIES),
        _layer((2, 6, 5, 3), (3, 3, 3, 4)),
        _dense(5, 33, 7, False),
        _dense(1, 1, 1, True),
        _dense(128, 256, 10, False),
        # as many rows as the smallest matrix product that jaxlib 0.10.2 gets wrong
        _dense(32769, 3, 3, False),
        _dense(128, 3072, 512, True),
        _dense(1, 4096, 1000, True),
        _dense(5, 33, 7, False, ours=True),
        _dense(128, 3072, 10, True, ours=True),
        _dense(2049, 12, 5, False, ours=True),
        _dense(2049, 20, 5, False, ours=True),
        _dense(2048, 5, 12, False, ours=True),
        _dense(10240, 256, 64, True, ours=True),
    ]
