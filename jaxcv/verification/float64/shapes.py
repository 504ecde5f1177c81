"""Primitives that move numbers without computing."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from jaxcv.verification.float64.elementwise import Rule


def dilate_and_pad(
    x: np.ndarray, config: Sequence[Sequence[Any]], value: float | np.ndarray
) -> np.ndarray:
    """For each axis (before, after, between): so many values; negative ones cut off."""
    spread = tuple(
        max((n - 1) * (gap + 1) + 1, 0) for n, (_, _, gap) in zip(x.shape, config, strict=True)
    )
    y = np.full(spread, value, x.dtype)
    y[tuple(slice(None, None, gap + 1) for _, _, gap in config)] = x
    y = np.pad(
        y,
        [(max(before, 0), max(after, 0)) for before, after, _ in config],
        constant_values=np.asarray(value).item(),
    )
    cut = (
        slice(max(-before, 0), n - max(-after, 0))
        for n, (before, after, _) in zip(y.shape, config, strict=True)
    )
    return y[tuple(cut)]


def _broadcast(operands: list[Any], params: Mapping[str, Any]) -> np.ndarray:
    (x,), shape = operands[:1], params["shape"]
    sizes = [1] * len(shape)
    for axis, size in zip(params["broadcast_dimensions"], np.shape(x), strict=True):
        sizes[axis] = size
    return np.broadcast_to(np.reshape(x, sizes), shape)


def _reshape(operands: list[Any], params: Mapping[str, Any]) -> Any:
    if params.get("dimensions") is not None:
        return NotImplemented
    return np.reshape(operands[0], params["new_sizes"])


def _slice(operands: list[Any], params: Mapping[str, Any]) -> np.ndarray:
    strides = params["strides"] or (1,) * operands[0].ndim
    bounds = zip(params["start_indices"], params["limit_indices"], strides, strict=True)
    return operands[0][tuple(slice(*bound) for bound in bounds)]


def _dynamic_slice(operands: list[Any], params: Mapping[str, Any]) -> np.ndarray:
    x, *starts = operands
    cut = []
    for n, start, size in zip(x.shape, starts, params["slice_sizes"], strict=True):
        first = int(np.clip(start, 0, n - size))
        cut.append(slice(first, first + size))
    return x[tuple(cut)]


def _iota(operands: list[Any], params: Mapping[str, Any]) -> np.ndarray:
    shape, axis = params["shape"], params["dimension"]
    line = np.arange(shape[axis]).astype(params["dtype"])
    line = line.astype(np.float64) if line.dtype.kind in "fV" else line
    return np.broadcast_to(line.reshape([-1 if i == axis else 1 for i in range(len(shape))]), shape)


def _split(operands: list[Any], params: Mapping[str, Any]) -> list[np.ndarray]:
    return np.split(operands[0], np.cumsum(params["sizes"])[:-1], axis=params["axis"])


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "broadcast_in_dim": _broadcast,
        "concatenate": lambda operands, params: np.concatenate(operands, params["dimension"]),
        "dynamic_slice": _dynamic_slice,
        "expand_dims": lambda operands, params: np.expand_dims(operands[0], params["dimensions"]),
        "iota": _iota,
        "pad": lambda operands, params: dilate_and_pad(
            operands[0], params["padding_config"], operands[1]
        ),
        "reshape": _reshape,
        "rev": lambda operands, params: np.flip(operands[0], params["dimensions"]),
        "slice": _slice,
        "split": _split,
        "squeeze": lambda operands, params: np.squeeze(operands[0], params["dimensions"]),
        "transpose": lambda operands, params: np.transpose(operands[0], params["permutation"]),
    }
)
