"""Max, average and global average pooling."""

from typing import Any

import numpy as np

from jaxcv import ops, reference
from jaxcv.verification.bounds import FLOAT32, ULPS, summation
from jaxcv.verification.cases.case import Case, Example, Rng, numbers
from jaxcv.verification.running_error import Bounded

# size, window, stride, padding, deep
_GEOMETRIES: tuple[tuple[tuple[int, ...], Any, Any, Any, bool], ...] = (
    ((2, 7, 5, 2), (2, 4), (2, 1), ((1, 0), (1, 2)), False),
    ((3, 6, 4, 3), 2, None, "valid", False),
    ((2, 7, 6, 3), 3, 2, "same", False),
    ((2, 7, 7, 2), 2, 3, "valid", False),
    ((1, 1, 1, 1), 1, None, "valid", True),
    ((2, 5, 6, 2), (5, 6), None, "valid", True),
    ((2, 9, 8, 2), (1, 4), (3, 2), "valid", True),
    ((16, 32, 32, 64), 2, None, "valid", True),
    ((8, 33, 31, 16), 3, 2, 1, True),
)


def _pool(op: str, size, window, stride, padding, deep: bool) -> Case:
    largest = op == "max_pool2d"
    function = getattr(reference, op)
    gradient = getattr(reference, f"{op}_backward")
    rows, columns = (window, window) if isinstance(window, int) else window
    # The sum of the window is divided by its size.
    division = 0.0 if largest else 2 * FLOAT32 * ULPS["divide"]
    sums = 0.0 if largest else summation(rows * columns)
    overlaps = summation(rows * columns)

    def draw(rng: Rng, integers: bool) -> Example:
        x = numbers(rng, size, integers)
        return Example((x,), (), numbers(rng, function(x, window, stride, padding).shape, integers))

    def forward(example: Example, u: float) -> Bounded:
        (x,) = example.inputs
        sizes = np.abs(x) if not largest else np.zeros_like(x)
        magnitudes = reference.avg_pool2d(sizes, window, stride, padding)
        return Bounded(
            function(x, window, stride, padding), (sums + division + sums * division) * magnitudes
        )

    def backward(example: Example, u: float) -> tuple[Bounded, ...]:
        (x,), dy = example.inputs, example.upstream
        sizes = gradient(np.abs(dy), x, window, stride, padding)
        factor = division + overlaps + division * overlaps
        return (Bounded(gradient(dy, x, window, stride, padding), factor * sizes),)

    return Case(
        op=op,
        variant=f"{size}, window {window}, stride {stride}, padding {padding}",
        function=lambda x: getattr(ops, op)(x, window, stride, padding),
        draw=draw,
        forward=forward,
        backward=backward,
        # Division is exact by powers of two only.
        exact=largest or (rows * columns) & (rows * columns - 1) == 0,
        deep=deep,
    )


def _global_average(size: tuple[int, int, int, int], deep: bool) -> Case:
    pixels = size[1] * size[2]
    division = 2 * FLOAT32 * ULPS["divide"]
    factor = summation(pixels) + division + summation(pixels) * division

    def draw(rng: Rng, integers: bool) -> Example:
        x = numbers(rng, size, integers)
        return Example((x,), (), numbers(rng, (size[0], size[3]), integers))

    def forward(example: Example, u: float) -> Bounded:
        (x,) = example.inputs
        magnitude = reference.global_avg_pool2d(np.abs(x))
        return Bounded(reference.global_avg_pool2d(x), factor * magnitude)

    def backward(example: Example, u: float) -> tuple[Bounded, ...]:
        value = reference.global_avg_pool2d_backward(example.upstream, *example.inputs)
        return (Bounded(value, division * np.abs(value)),)

    return Case(
        op="global_avg_pool2d",
        variant=f"{size}",
        function=lambda x: ops.global_avg_pool2d(x),
        draw=draw,
        forward=forward,
        backward=backward,
        exact=pixels & (pixels - 1) == 0,
        deep=deep,
    )


def cases() -> list[Case]:
    """Pooling over windows and over whole images."""
    return [
        *(_pool(op, *g) for op in ("max_pool2d", "avg_pool2d") for g in _GEOMETRIES),
        _global_average((3, 4, 8, 5), False),
        _global_average((2, 5, 7, 3), True),
        _global_average((1, 1, 1, 2), True),
        _global_average((16, 32, 32, 64), True),
    ]
