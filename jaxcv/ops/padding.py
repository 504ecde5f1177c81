"""Window geometry: strides and paddings as users write them, in the numbers that the ops need."""

import operator
from collections.abc import Sequence
from typing import SupportsIndex

Steps = SupportsIndex | Sequence[SupportsIndex]
"""One integer for both axes, or (vertical, horizontal)."""

Padding = str | SupportsIndex | Sequence[Sequence[SupportsIndex]]
"""``"same"``, ``"valid"``, one integer for all four sides, or ((top, bottom), (left, right))."""

DIMENSIONS = ("NHWC", "HWIO", "NHWC")
"""The order of the axes of images, kernels and feature maps in every op."""

Pair = tuple[int, int]
Pads = tuple[Pair, Pair]


def as_pair(value: Steps, name: str) -> Pair:
    """Returns ``value`` as (vertical, horizontal); both must be at least 1.

    Raises:
        ValueError: ``value`` is neither one positive integer nor two.
    """
    pair = _integers(value)
    if len(pair) != 2 or min(pair) < 1:
        raise ValueError(f"{name} must be one or two integers of at least 1, not {value!r}")
    return pair[0], pair[1]


def as_pads(padding: Padding, size: Pair, window: Pair, stride: Pair) -> Pads:
    """Returns ``padding`` as ((top, bottom), (left, right)).

    ``"same"`` pads so that the output measures ceil(size / stride), with the odd row or column
    at the bottom or right, as TensorFlow and XLA do.

    Raises:
        ValueError: an unknown word, a negative or malformed padding.
    """
    if isinstance(padding, str):
        word = padding.lower()
        if word == "valid":
            return (0, 0), (0, 0)
        if word != "same":
            raise ValueError(f'padding must be "same", "valid" or integers, not "{padding}"')
        vertical, horizontal = (
            _same(n, k, s) for n, k, s in zip(size, window, stride, strict=True)
        )
        return vertical, horizontal
    one = isinstance(padding, SupportsIndex)
    pads = [_integers(side) for side in ((padding, padding) if one else padding)]
    if [len(side) for side in pads] != [2, 2]:
        raise ValueError(f"padding must be ((top, bottom), (left, right)), not {padding!r}")
    if min(map(min, pads)) < 0:
        raise ValueError(f"padding must not be negative, but is {padding!r}")
    return (pads[0][0], pads[0][1]), (pads[1][0], pads[1][1])


def output_size(size: Pair, window: Pair, stride: Pair, pads: Pads) -> Pair:
    """Returns the height and width of the output of a sliding window.

    Raises:
        ValueError: the window is larger than the padded image.
    """
    rows, columns = (
        (n + sum(p) - k) // s + 1 for n, k, s, p in zip(size, window, stride, pads, strict=True)
    )
    if rows < 1 or columns < 1:
        raise ValueError(f"a window of {window} does not fit an image of {size} padded by {pads}")
    return rows, columns


def _same(size: int, window: int, stride: int) -> Pair:
    total = max((-(-size // stride) - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


def _integers(value: Steps) -> tuple[int, ...]:
    """Returns a sequence of integers, or one of them twice; nothing if they are no integers."""
    try:
        if isinstance(value, SupportsIndex):
            return (operator.index(value),) * 2
        return tuple(operator.index(v) for v in value)
    except TypeError:
        return ()
