"""Primitives of pooling: a window slid over an array of any rank."""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from jaxcv.verification.float64.elementwise import Rule
from jaxcv.verification.float64.shapes import dilate_and_pad


def _taps(
    params: Mapping[str, Any], shape: tuple[int, ...]
) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """Each element of the window in row-major order, and where it falls on the padded array."""
    window, strides = params["window_dimensions"], params["window_strides"]
    counts = [(n - k) // s + 1 for n, k, s in zip(shape, window, strides, strict=True)]
    for tap in np.ndindex(*window):
        yield (
            tap,
            tuple(
                slice(t, t + (m - 1) * s + 1, s)
                for t, m, s in zip(tap, counts, strides, strict=True)
            ),
        )


def _pool(combine: Callable[..., np.ndarray], empty: float) -> Rule:
    def rule(operands: list[Any], params: Mapping[str, Any]) -> Any:
        dilated = (*params["base_dilation"], *params["window_dilation"])
        if any(d != 1 for d in dilated):
            return NotImplemented
        x = dilate_and_pad(operands[0], [(*pad, 0) for pad in params["padding"]], empty)
        return combine(np.stack([x[where] for _, where in _taps(params, x.shape)]), axis=0)

    return rule


def _select_and_scatter_add(operands: list[Any], params: Mapping[str, Any]) -> Any:
    source, x = operands
    if params["select_prim"].name != "ge":
        return NotImplemented
    padded = dilate_and_pad(x, [(*pad, 0) for pad in params["padding"]], -np.inf)
    places = [where for _, where in _taps(params, padded.shape)]
    # The first of equal ones in row-major order is the one that argmax returns.
    largest = np.argmax(np.stack([padded[where] for where in places]), axis=0)
    total = np.zeros_like(padded)
    for number, where in enumerate(places):
        total[where] += np.where(largest == number, source, 0.0)
    cut = (slice(low, low + n) for (low, _), n in zip(params["padding"], x.shape, strict=True))
    return total[tuple(cut)]


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "reduce_window_max": _pool(np.max, -np.inf),
        "reduce_window_min": _pool(np.min, np.inf),
        "reduce_window_sum": _pool(np.sum, 0.0),
        "select_and_scatter_add": _select_and_scatter_add,
    }
)
