"""Primitives that work element by element."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

Rule = Callable[[list[Any], Mapping[str, Any]], Any]


def _of(function: Callable[..., Any]) -> Rule:
    return lambda operands, params: function(*operands)


def _logistic(x: np.ndarray) -> np.ndarray:
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, small) / (1.0 + small)


def _divide(operands: list[Any], params: Mapping[str, Any]) -> Any:
    x, y = operands
    return x / y if x.dtype == np.float64 else NotImplemented


def _select(operands: list[Any], params: Mapping[str, Any]) -> np.ndarray:
    which, *cases = operands
    if len(cases) == 2:
        return np.where(which, cases[1], cases[0])
    return np.choose(which, cases)


def _convert(operands: list[Any], params: Mapping[str, Any]) -> Any:
    (x,), dtype = operands, np.dtype(params["new_dtype"])
    # bfloat16 is no NumPy type: its kind is "V".
    return np.asarray(x).astype(np.float64 if dtype.kind in "fV" else dtype)


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "abs": _of(np.abs),
        "add": _of(np.add),
        "add_any": _of(np.add),
        "and": _of(np.bitwise_and),
        "ceil": _of(np.ceil),
        "clamp": _of(lambda low, x, high: np.clip(x, low, high)),
        "convert_element_type": _convert,
        "copy": _of(lambda x: x),
        "cos": _of(np.cos),
        "div": _divide,
        "eq": _of(np.equal),
        "erf": _of(np.vectorize(math.erf, otypes=[np.float64])),
        "exp": _of(np.exp),
        "expm1": _of(np.expm1),
        "floor": _of(np.floor),
        "ge": _of(np.greater_equal),
        "gt": _of(np.greater),
        "integer_pow": lambda operands, params: operands[0] ** params["y"],
        "is_finite": _of(np.isfinite),
        "le": _of(np.less_equal),
        "log": _of(np.log),
        "log1p": _of(np.log1p),
        "logistic": _of(_logistic),
        "lt": _of(np.less),
        "max": _of(np.maximum),
        "min": _of(np.minimum),
        "mul": _of(np.multiply),
        "ne": _of(np.not_equal),
        "neg": _of(np.negative),
        "not": _of(np.bitwise_not),
        "optimization_barrier": lambda operands, params: operands,
        "or": _of(np.bitwise_or),
        "pow": _of(np.power),
        "rem": _of(np.fmod),
        "rsqrt": _of(lambda x: 1 / np.sqrt(x)),
        "select_n": _select,
        "sign": _of(np.sign),
        "sin": _of(np.sin),
        "sqrt": _of(np.sqrt),
        "square": _of(np.square),
        "stop_gradient": _of(lambda x: x),
        "sub": _of(np.subtract),
        "tanh": _of(np.tanh),
    }
)
