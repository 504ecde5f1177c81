"""Reductions, products of matrices and convolutions."""

import string
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from jaxcv.verification.float64.elementwise import Rule
from jaxcv.verification.float64.shapes import dilate_and_pad


def _reduce(function: Callable[..., np.ndarray]) -> Rule:
    return lambda operands, params: function(operands[0], axis=tuple(params["axes"]))


def _arg(function: Callable[..., np.ndarray]) -> Rule:
    return lambda operands, params: function(operands[0], axis=params["axes"][0]).astype(
        params["index_dtype"]
    )


def _dot_general(operands: list[Any], params: Mapping[str, Any]) -> np.ndarray:
    x, y = operands
    (sums_x, sums_y), (batch_x, batch_y) = params["dimension_numbers"]
    letters = iter(string.ascii_letters)
    names_x = [next(letters) for _ in range(x.ndim)]
    names_y = [next(letters) for _ in range(y.ndim)]
    for i, j in (*zip(sums_x, sums_y, strict=True), *zip(batch_x, batch_y, strict=True)):
        names_y[j] = names_x[i]
    batch = [names_x[i] for i in batch_x]
    kept_x = [name for i, name in enumerate(names_x) if i not in (*sums_x, *batch_x)]
    kept_y = [name for j, name in enumerate(names_y) if j not in (*sums_y, *batch_y)]
    result = "".join((*batch, *kept_x, *kept_y))
    return np.einsum(f"{''.join(names_x)},{''.join(names_y)}->{result}", x, y, optimize=True)


def _convolution(operands: list[Any], params: Mapping[str, Any]) -> Any:
    if params["feature_group_count"] != 1 or params["batch_group_count"] != 1:
        return NotImplemented
    numbers = params["dimension_numbers"]
    # Images as (batch, features, *space), kernels as (out, in, *space).
    x = np.transpose(operands[0], numbers.lhs_spec)
    kernel = np.transpose(operands[1], numbers.rhs_spec)
    gaps = [(0, 0, d - 1) for d in params["rhs_dilation"]]
    kernel = dilate_and_pad(kernel, [(0, 0, 0), (0, 0, 0), *gaps], 0.0)
    borders = [
        (*pad, d - 1) for pad, d in zip(params["padding"], params["lhs_dilation"], strict=True)
    ]
    x = dilate_and_pad(x, [(0, 0, 0), (0, 0, 0), *borders], 0.0)
    strides = params["window_strides"]
    sizes = [
        (n - k) // s + 1 for n, k, s in zip(x.shape[2:], kernel.shape[2:], strides, strict=True)
    ]
    y = np.zeros((kernel.shape[0], x.shape[0], *sizes))
    for tap in np.ndindex(*kernel.shape[2:]):
        weights = kernel[(slice(None), slice(None), *tap)]
        if weights.any():
            cut = (
                slice(t, t + (m - 1) * s + 1, s)
                for t, m, s in zip(tap, sizes, strides, strict=True)
            )
            y += np.tensordot(weights, x[(slice(None), slice(None), *cut)], axes=(1, 1))
    return np.transpose(np.swapaxes(y, 0, 1), np.argsort(numbers.out_spec))


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "argmax": _arg(np.argmax),
        "argmin": _arg(np.argmin),
        "conv_general_dilated": _convolution,
        "dot_general": _dot_general,
        "reduce_and": _reduce(np.all),
        "reduce_max": _reduce(np.max),
        "reduce_min": _reduce(np.min),
        "reduce_or": _reduce(np.any),
        "reduce_prod": _reduce(np.prod),
        "reduce_sum": _reduce(np.sum),
    }
)
