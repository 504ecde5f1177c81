"""How every function of the reference reads its inputs: cast to float64, shape checked."""

import operator
from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Float64, Int64

Real: TypeAlias = float | int | np.number


@runtime_checkable
class SupportsArray(Protocol):
    """An array of another library, which NumPy converts."""

    def __array__(self) -> np.ndarray: ...


Values: TypeAlias = np.ndarray | SupportsArray | Sequence[Any] | float | int
"""Anything NumPy turns into an array of numbers: its arrays, JAX's, nested lists, scalars."""


def as_float64(values: Values, name: str, axes: str) -> Float64[np.ndarray, "..."]:
    """Cast to float64 and check the rank.

    Args:
        values: The numbers.
        name: What the message calls them.
        axes: Names of the axes in order, separated by spaces; `"..."` in front stands for any
            number of further ones.

    Returns:
        The same numbers in float64. It may be the caller's own array: never write to it.

    Raises:
        ValueError: Another number of axes than named, or no elements at all.
    """
    array = np.asarray(values, dtype=np.float64)
    names = axes.split()
    open_ended = names[:1] == ["..."]
    wanted = len(names) - open_ended
    if array.ndim < wanted or (array.ndim > wanted and not open_ended):
        raise ValueError(f"{name} must have axes ({', '.join(names)}), got shape {array.shape}")
    if array.size == 0:
        raise ValueError(f"{name} must not be empty, got shape {array.shape}")
    return array


def as_labels(labels: Any, batch: int, classes: int) -> Int64[np.ndarray, "batch"]:
    """Class numbers as integers, one for each of `batch` examples, each in [0, classes).

    Raises:
        ValueError: No integers, another number of them, or one out of range.
    """
    array = np.asarray(labels)
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"labels must be integers, got {array.dtype}")
    require_shape(array, "labels", (batch,))
    if array.min() < 0 or array.max() >= classes:
        raise ValueError(f"labels must lie in [0, {classes}), got {array.min()} to {array.max()}")
    return array.astype(np.int64)


def as_pair(value: Any, name: str) -> tuple[int, int]:
    """(vertical, horizontal) from one whole number or two, each at least 1.

    Raises:
        ValueError: Anything else.
    """
    try:
        try:
            pair = (operator.index(value),) * 2
        except TypeError:
            pair = tuple(operator.index(part) for part in value)
    except TypeError:
        pair = ()
    if len(pair) != 2 or min(pair) < 1:
        raise ValueError(f"{name} must be a positive integer or a pair of them, got {value!r}")
    return pair[0], pair[1]


def require_shape(array: np.ndarray, name: str, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless the array has exactly this shape."""
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
