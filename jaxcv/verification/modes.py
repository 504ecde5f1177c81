"""The ways in which a network runs an op: by itself, compiled, for many lanes, in a loop."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import numpy as np

Function = Callable[..., Any]


def _one_by_one(function: Function) -> Function:
    """The function of stacked arguments that calls `function` for each lane."""

    def stacked(*arguments: np.ndarray):
        # Arrays on the device, not NumPy's: a lane of a program is given those.
        results = [function(*map(jax.numpy.asarray, lane)) for lane in zip(*arguments, strict=True)]
        return jax.tree.map(lambda *leaves: np.stack(leaves), *results)

    return stacked


def _eager(function: Function) -> Function:
    return _one_by_one(function)


def _jit(function: Function) -> Function:
    return _one_by_one(jax.jit(function))


def _vmap(function: Function) -> Function:
    return jax.jit(jax.vmap(function))


def _scan(function: Function) -> Function:
    def step(carry, lane):
        return carry, function(*lane)

    return jax.jit(lambda *arguments: jax.lax.scan(step, None, arguments)[1])


MODES: Mapping[str, Callable[[Function], Function]] = MappingProxyType(
    {"eager": _eager, "jit": _jit, "jit+vmap": _vmap, "jit+scan": _scan}
)
"""By name: what turns a function of one lane into one of arguments stacked along a first axis."""


def fresh(function: Function) -> Function:
    """The same function under a new identity: no trace or program of an earlier call is used."""
    return lambda *arguments: function(*arguments)


def gradient(function: Function, inputs: int) -> Function:
    """The function (upstream, *arguments) ↦ gradients of the first `inputs` arguments."""

    def pulled(upstream, *arguments):
        held = arguments[inputs:]
        _, pull = jax.vjp(lambda *moved: function(*moved, *held), *arguments[:inputs])
        return pull(upstream)

    return pulled
