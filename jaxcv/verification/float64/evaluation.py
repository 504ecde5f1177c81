"""Walks a traced program and computes each of its equations in NumPy."""

import math
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcv.verification.float64 import elementwise, indexing, shapes, sums, windows

_RULES: Mapping[str, Any] = MappingProxyType(
    {**elementwise.RULES, **shapes.RULES, **sums.RULES, **windows.RULES, **indexing.RULES}
)


def evaluate(closed_jaxpr: Any, arguments: Sequence[Any]) -> list[Any]:
    """The results of a traced program, floating-point numbers in float64 throughout.

    Random bits and the few primitives that have no rule are left to JAX, one by one. Where a
    program differs between platforms, what it does on none in particular is evaluated.

    Args:
        closed_jaxpr: from `jax.make_jaxpr`.
        arguments: flat; NumPy arrays, or keys of random numbers.
    """
    return _walk(closed_jaxpr.jaxpr, closed_jaxpr.consts, arguments)


def _walk(jaxpr: Any, constants: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
    values: dict[Any, Any] = {}

    def read(atom: Any) -> Any:
        return widened(atom.val) if hasattr(atom, "val") else values[atom]

    for variables, given in ((jaxpr.constvars, constants), (jaxpr.invars, arguments)):
        for variable, value in zip(variables, given, strict=True):
            values[variable] = widened(value)
    for equation in jaxpr.eqns:
        operands = [read(atom) for atom in equation.invars]
        for variable, value in zip(equation.outvars, _equation(equation, operands), strict=True):
            values[variable] = value
    return [read(atom) for atom in jaxpr.outvars]


def widened(value: Any) -> Any:
    """A NumPy array, in float64 where it has floating-point numbers; keys are left alone."""
    dtype = getattr(value, "dtype", None)
    if dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key):
        return value
    array = np.asarray(value)
    return array.astype(np.float64) if jnp.issubdtype(array.dtype, np.floating) else array


def _equation(equation: Any, operands: list[Any]) -> Sequence[Any]:
    name, params = equation.primitive.name, equation.params
    if name == "platform_index":
        return [np.int32(len(params["platforms"]) - 1)]
    if name == "cond":
        index = int(np.clip(operands[0], 0, len(params["branches"]) - 1))
        return evaluate(params["branches"][index], operands[1:])
    if name in ("custom_jvp_call", "custom_vjp_call"):
        return evaluate(params["call_jaxpr"], operands)
    if name in ("jit", "pjit", "closed_call", "remat", "remat2", "checkpoint"):
        inner = params["jaxpr"]
        return _walk(getattr(inner, "jaxpr", inner), getattr(inner, "consts", ()), operands)
    if name == "while":
        return _while(params, operands)
    if name == "scan":
        return _scan(params, operands)
    rule = _RULES.get(name)
    result = NotImplemented if rule is None else rule(operands, params)
    if result is NotImplemented:
        result = _by_jax(equation, operands)
    results = result if equation.primitive.multiple_results else [result]
    return [widened(one) for one in results]


def _while(params: Mapping[str, Any], operands: list[Any]) -> list[Any]:
    first, second = params["cond_nconsts"], params["body_nconsts"]
    held, constants = operands[:first], operands[first : first + second]
    carry = operands[first + second :]
    while evaluate(params["cond_jaxpr"], [*held, *carry])[0]:
        carry = evaluate(params["body_jaxpr"], [*constants, *carry])
    return carry


def _scan(params: Mapping[str, Any], operands: list[Any]) -> list[Any]:
    constants, carried = params["num_consts"], params["num_carry"]
    held, carry = operands[:constants], operands[constants : constants + carried]
    slices = operands[constants + carried :]
    order = range(params["length"])
    outputs: dict[int, list[Any]] = {}
    for i in reversed(order) if params["reverse"] else order:
        results = evaluate(params["jaxpr"], [*held, *carry, *(x[i] for x in slices)])
        carry, outputs[i] = results[:carried], results[carried:]
    columns = zip(*(outputs[i] for i in order), strict=True)
    return [*carry, *(np.stack(column) for column in columns)]


def _by_jax(equation: Any, operands: list[Any]) -> Any:
    with jax.enable_x64(True):
        return equation.primitive.bind(*operands, **equation.params)


def summed_terms(jaxpr: Any) -> int:
    """Terms of all sums and products of matrices in a program, as if each followed the last."""
    total = 0
    for equation in jaxpr.eqns:
        name, params = equation.primitive.name, equation.params
        shape: list[Any] = [getattr(atom.aval, "shape", ()) for atom in equation.invars]
        if name == "dot_general":
            (axes, _), _ = params["dimension_numbers"]
            total += math.prod(shape[0][axis] for axis in axes)
        elif name == "conv_general_dilated":
            features = params["dimension_numbers"].rhs_spec[0]
            total += math.prod(shape[1]) // shape[1][features]
        elif name == "reduce_sum":
            total += math.prod(shape[0][axis] for axis in params["axes"])
        total += sum(map(summed_terms, _inner(params)))
    return total


def _inner(params: Mapping[str, Any]) -> Iterator[Any]:
    for value in params.values():
        for part in value if isinstance(value, tuple) else (value,):
            jaxpr = getattr(part, "jaxpr", part)
            if hasattr(jaxpr, "eqns"):
                yield jaxpr
