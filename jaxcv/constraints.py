"""What a setting may be, said in its type annotation, and the one line when it is not."""

import dataclasses
import math
import numbers
import types
import typing
from typing import Annotated, Any, Literal

from jaxcv.errors import UserError


@dataclasses.dataclass(frozen=True)
class Range:
    """The numbers that a field may hold, as a type annotation: `Annotated[float, Range(0, 1)]`."""

    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.low_open else value >= self.low
        below = value < self.high if self.high_open else value <= self.high
        return bool(above and below and _finite(value))

    def __str__(self) -> str:
        parts = []
        if self.low > -math.inf:
            parts.append(f"{'greater than' if self.low_open else 'at least'} {self.low:.10g}")
        if self.high < math.inf:
            parts.append(f"{'less than' if self.high_open else 'at most'} {self.high:.10g}")
        return " and ".join(parts) or "finite"


Positive = Annotated[float, Range(0, low_open=True)]
NonNegative = Annotated[float, Range(0)]
Fraction = Annotated[float, Range(0, 1, high_open=True)]
# Steps are counted in int32, and a key is made from 32 bits of its seed: larger seeds repeat.
Count = Annotated[int, Range(1, 2**31 - 1)]
Epochs = Annotated[int | float, Range(1, 2**31 - 1)]
Index = Annotated[int, Range(0, 2**32 - 1)]


class Traced:
    """Stands in the static half of an experiment where a number became an array."""

    def __repr__(self) -> str:
        return "traced"


TRACED = Traced()


def is_numeric(hint: Any) -> bool:
    """Whether a field is a number that reaches the compiled program as an array.

    Those are the fields annotated `float`, `tuple[float, ...]` or either with None; what may also
    be a whole number is counted in, on the host.
    """
    if typing.get_origin(hint) is Annotated:
        hint = typing.get_args(hint)[0]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        kinds = [h for h in typing.get_args(hint) if h is not type(None)]
        return all(is_numeric(h) for h in kinds)
    if typing.get_origin(hint) is tuple:
        return is_numeric(typing.get_args(hint)[0])
    return hint is float


def check(name: str, value: Any, hint: Any) -> None:
    """Refuses a value that does not fit its field's annotation.

    Raises:
        UserError: one line that names the flag, the value and what would be right.
    """
    problem = _problem(value, hint)
    if problem:
        raise UserError(f"--{name.replace('_', '-')} must be {problem}, not {shown(value)}")


def expected(hint: Any) -> str:
    """What a value of an annotation is, in words: "a whole number at least 1"."""
    if typing.get_origin(hint) is Annotated and typing.get_origin(hint.__origin__) is not None:
        return expected(hint.__origin__)
    if typing.get_origin(hint) is tuple:
        return f"a list, each {expected(typing.get_args(hint)[0])}"
    return _problem(object(), hint) or "something else"


def shown(value: Any) -> str:
    """A value as an error message quotes it: short, strings in quotes."""
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that no float can hold
        return False


def _problem(value: Any, hint: Any) -> str | None:
    """What the value should have been; None when it fits."""
    # "aval" marks JAX's arrays and tracers, which go in while a program is traced.
    if isinstance(value, Traced) or hasattr(value, "aval") or hint is Any:
        return None
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        problem = _problem(value, arguments[0])
        allowed = next((a for a in arguments[1:] if isinstance(a, Range)), None)
        if allowed is None or (problem is None and value in allowed):
            return problem
        kind = "a whole number" if arguments[0] is int else "a number"
        return f"{kind} {allowed}"
    if origin in (typing.Union, types.UnionType):
        problems = [_problem(value, h) for h in arguments if h is not type(None)]
        nothing = type(None) in arguments and value is None
        return None if nothing or None in problems else " or ".join(str(p) for p in problems)
    if origin is Literal:
        return None if value in arguments else "one of " + ", ".join(str(a) for a in arguments)
    if origin is tuple:
        if not isinstance(value, tuple):
            return "a list"
        return next((p for v in value if (p := _problem(v, arguments[0]))), None)
    if hint is float:
        good = isinstance(value, numbers.Real) and not isinstance(value, bool)
        return None if good and _finite(value) else "a finite number"
    if hint is int:
        good = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        return None if good else "a whole number"
    if hint is str and isinstance(value, str) and "\0" in value:
        return "a text without null characters"
    if hint in (str, bool):
        return (
            None
            if isinstance(value, hint)
            else {"str": "a text", "bool": "true or false"}[hint.__name__]
        )
    return None
