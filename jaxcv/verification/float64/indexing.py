"""Gathering and scattering: slices at computed positions, one after the other."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from jaxcv.verification.float64.elementwise import Rule


def _starts(
    indices: np.ndarray,
    rank: int,
    index_map: tuple[int, ...],
    batching: tuple[tuple[int, ...], tuple[int, ...]],
) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
    """Each position among the batch dimensions, and the corner of its slice."""
    for position in np.ndindex(*indices.shape[:-1]):
        corner = np.zeros(rank, int)
        corner[list(index_map)] = indices[position]
        for axis, batch_axis in zip(*batching, strict=True):
            corner[axis] = position[batch_axis]
        yield position, corner


def _gather(operands: list[Any], params: Mapping[str, Any]) -> Any:
    x, indices = operands
    numbers, sizes = params["dimension_numbers"], params["slice_sizes"]
    dropped = (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims)
    window = [size for axis, size in enumerate(sizes) if axis not in dropped]
    batch = indices.shape[:-1]
    result = np.zeros((*batch, *window), x.dtype)
    batching = (numbers.operand_batching_dims, numbers.start_indices_batching_dims)
    for position, corner in _starts(indices, x.ndim, numbers.start_index_map, batching):
        if (corner < 0).any() or (corner + sizes > x.shape).any():
            return NotImplemented
        piece = x[tuple(slice(c, c + size) for c, size in zip(corner, sizes, strict=True))]
        result[position] = np.squeeze(piece, dropped)
    return np.moveaxis(result, range(len(batch), result.ndim), numbers.offset_dims)


def _scatter_add(operands: list[Any], params: Mapping[str, Any]) -> Any:
    x, indices, updates = operands
    numbers = params["dimension_numbers"]
    single = (*numbers.inserted_window_dims, *numbers.operand_batching_dims)
    windows = numbers.update_window_dims
    updates = np.moveaxis(updates, windows, range(updates.ndim - len(windows), updates.ndim))
    window = iter(updates.shape[indices.ndim - 1 :])
    sizes = [1 if axis in single else next(window) for axis in range(x.ndim)]
    result = x.copy()
    batching = (numbers.operand_batching_dims, numbers.scatter_indices_batching_dims)
    index_map = numbers.scatter_dims_to_operand_dims
    for position, corner in _starts(indices, x.ndim, index_map, batching):
        if (corner < 0).any() or (corner + sizes > x.shape).any():
            return NotImplemented
        where = tuple(slice(c, c + size) for c, size in zip(corner, sizes, strict=True))
        result[where] += updates[position].reshape(sizes)
    return result


RULES: Mapping[str, Rule] = MappingProxyType({"gather": _gather, "scatter-add": _scatter_add})
