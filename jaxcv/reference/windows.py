"""Where the windows of a convolution or a pooling lie, along each axis of an image."""

import operator
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float64

from jaxcv.reference.arrays import as_pair

Size: TypeAlias = int | Sequence[int]
"""One whole number for both axes, or (vertical, horizontal)."""

Padding: TypeAlias = str | int | Sequence[Sequence[int]]
"""`"same"`, `"valid"`, one whole number for all sides, or ((top, bottom), (left, right))."""


class Axis(NamedTuple):
    """The windows along one axis: window k covers [k * stride - before, ... + window)."""

    length: int
    window: int
    stride: int
    before: int
    after: int
    outputs: int

    def strided(self, offset: int) -> slice:
        """The padded positions that element `offset` of each window, in turn, falls on."""
        return slice(offset, offset + self.stride * (self.outputs - 1) + 1, self.stride)

    def inside(self, output: int) -> slice:
        """The unpadded positions under window number `output`."""
        start = output * self.stride - self.before
        return slice(max(start, 0), min(start + self.window, self.length))


def lay_out(
    image: tuple[int, int], window: Size, stride: Size, padding: Padding
) -> tuple[Axis, Axis]:
    """Lay windows over an image of (height, width).

    `"valid"` adds nothing, so out = (length - window) // stride + 1. `"same"` adds what makes
    out = ceil(length / stride), the odd pixel at the end, as TensorFlow and XLA do.

    Raises:
        ValueError: A malformed window, stride or padding, or a window larger than the padded image.
    """
    windows, strides = as_pair(window, "window"), as_pair(stride, "stride")
    axes = []
    for length, size, step, (before, after) in zip(
        image, windows, strides, _sides(padding, image, windows, strides), strict=True
    ):
        padded = before + length + after
        if size > padded:
            raise ValueError(f"a window of {size} does not fit into {padded} padded pixels")
        axes.append(Axis(length, size, step, before, after, (padded - size) // step + 1))
    return axes[0], axes[1]


def pad(
    x: Float64[np.ndarray, "batch height width channels"], rows: Axis, columns: Axis
) -> Float64[np.ndarray, "batch padded_height padded_width channels"]:
    """Surround each image with the zeros that its layout asks for."""
    return np.pad(x, ((0, 0), (rows.before, rows.after), (columns.before, columns.after), (0, 0)))


def crop(
    padded: Float64[np.ndarray, "batch padded_height padded_width channels"],
    rows: Axis,
    columns: Axis,
) -> Float64[np.ndarray, "batch height width channels"]:
    """Undo `pad`, which is also its derivative."""
    return padded[
        :,
        rows.before : rows.before + rows.length,
        columns.before : columns.before + columns.length,
    ]


def _sides(
    padding: Padding, image: tuple[int, int], window: tuple[int, int], stride: tuple[int, int]
) -> list[tuple[int, int]]:
    if isinstance(padding, str):
        if padding.lower() == "valid":
            return [(0, 0), (0, 0)]
        if padding.lower() == "same":
            sides = []
            for length, size, step in zip(image, window, stride, strict=True):
                outputs = -(-length // step)
                total = max((outputs - 1) * step + size - length, 0)
                sides.append((total // 2, total - total // 2))
            return sides
    else:
        sides = _explicit(padding)
        if [len(side) for side in sides] == [2, 2] and min(map(min, sides)) >= 0:
            return sides
    raise ValueError(
        "padding must be 'same', 'valid', a whole number or ((top, bottom), (left, right)), "
        f"got {padding!r}"
    )


def _explicit(padding: int | Sequence[Sequence[int]]) -> list:
    try:
        return [(operator.index(padding),) * 2] * 2  # pyright: ignore[reportArgumentType]
    except TypeError:
        pass
    try:
        return [tuple(operator.index(n) for n in side) for side in padding]  # pyright: ignore
    except TypeError:
        return []
