"""Parameters in Flax's layout: {"Conv_0": {"kernel": ..., "bias": ...}, "Dense_0": {...}}."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float64

from jaxcv.reference.arrays import as_float64

Params: TypeAlias = Mapping[str, Any]
Gradients: TypeAlias = dict[str, dict[str, np.ndarray]]
"""Of the structure of the parameters they belong to."""


class Layer(NamedTuple):
    """One layer's name and float64 parameters."""

    name: str
    kernel: Float64[np.ndarray, "..."]
    bias: Float64[np.ndarray, "features_out"]


def read_layers(params: Params, convolutions: int, denses: int) -> list[Layer]:
    """The layers of a network: first its convolutions, then its dense layers.

    Which is which tells the rank of the kernel (four or two), and the order within a kind the
    name: alphabetical, but with numbers by value (Conv_2 before Conv_10). The order of the dict
    would not do, since `jax.tree` sorts it anew.

    Args:
        params: Nested as Flax nests them; a single outer "params" is looked through.
        convolutions: How many convolutions there must be.
        denses: How many dense layers there must be.

    Raises:
        ValueError: Other layers, or a layer without kernel and bias.
    """
    if set(params) == {"params"}:
        params = params["params"]
    found: dict[int, list[Layer]] = {4: [], 2: []}
    for name in sorted(params, key=_natural):
        entry = params[name]
        if not isinstance(entry, Mapping) or set(entry) != {"kernel", "bias"}:
            raise ValueError(f"layer {name!r} must hold a kernel and a bias and nothing else")
        kernel = as_float64(entry["kernel"], f"{name} kernel", "...")
        bias = as_float64(entry["bias"], f"{name} bias", "features_out")
        if kernel.ndim not in found:
            raise ValueError(f"the kernel of {name!r} must have 4 or 2 axes, got {kernel.ndim}")
        found[kernel.ndim].append(Layer(name, kernel, bias))
    if (len(found[4]), len(found[2])) != (convolutions, denses):
        raise ValueError(
            f"expected {convolutions} convolutions and {denses} dense layers, "
            f"got {len(found[4])} and {len(found[2])}"
        )
    return found[4] + found[2]


def _natural(name: str) -> list[tuple[int, int, str]]:
    parts = re.findall(r"\d+|\D+", name)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]
