"""What a sweep varies: settings of an experiment, each with a list of values or a range."""

import contextlib
import dataclasses
import difflib
import itertools
import math
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any

from jaxcv.constraints import Range, check, is_numeric, shown
from jaxcv.errors import UserError
from jaxcv.experiment import Experiment, flat_settings, replace_settings

# The script names itself, the data decide the classes.
_FIXED = {"name", "num_classes"}


@dataclasses.dataclass(frozen=True)
class Choices:
    """A list of values, as `--set FIELD=A,B,C` names them.

    Attributes:
        values: different from one another.
    """

    values: tuple[Any, ...]


@dataclasses.dataclass(frozen=True)
class Span:
    """All numbers between two, as `--range FIELD=[log:]A..B` names them.

    Attributes:
        low: smallest.
        high: largest.
        log: equal ratios are equally likely, instead of equal differences.
        whole: only whole numbers.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False


Axis = Choices | Span
Configuration = Mapping[str, Any]


def read_axes(
    experiment: Experiment, lists: Sequence[str], ranges: Sequence[str]
) -> dict[str, Axis]:
    """Axes from the texts of the command line.

    Args:
        experiment: whose settings vary.
        lists: "learning_rate=1e-4,1e-3"; a list-valued setting's values have spaces: "8 8,16 16".
        ranges: "learning_rate=log:1e-5..1e-1", "hidden=10..100".

    Raises:
        UserError: an unknown setting, a value that does not fit, an empty range, ...
    """
    axes: dict[str, Axis] = {}
    for flag, texts in (("--set", lists), ("--range", ranges)):
        for text in texts:
            name, equals, values = text.partition("=")
            name = name.strip().replace("-", "_")
            if not equals or not name:
                raise UserError(f"{flag} {shown(text)}: write {_FORMS[flag]}")
            if name in axes:
                raise UserError(f"{flag} {shown(text)}: {name} is varied twice")
            hint = _hint(experiment, name)
            axes[name] = (
                _choices(name, hint, values) if flag == "--set" else _span(name, hint, values)
            )
    check_axes(experiment, axes)
    return axes


_FORMS = {
    "--set": "--set FIELD=VALUE,VALUE, such as learning_rate=1e-4,1e-3",
    "--range": "--range FIELD=LOW..HIGH or log:LOW..HIGH, such as learning_rate=log:1e-5..0.1",
}


def as_axes(experiment: Experiment, axes: Mapping[str, Axis | Sequence[Any]]) -> dict[str, Axis]:
    """Axes as Python code writes them: lists of values, NumPy's numbers, a `Span` of whole ones.

    Raises:
        UserError: they do not fit the experiment.
    """
    found: dict[str, Axis] = {}
    for name, axis in axes.items():
        hint = _hint(experiment, name)
        if isinstance(axis, Span):
            low, high = map(_plain_value, (axis.low, axis.high))
            axis = Span(low, high, axis.log, axis.whole)
            if _kinds(hint) == {int} and all(float(b).is_integer() for b in (axis.low, axis.high)):
                axis = Span(int(axis.low), int(axis.high), axis.log, True)
            found[name] = axis
            continue
        values = axis.values if isinstance(axis, Choices) else axis
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise UserError(f"{name} is given {shown(values)}: list the values to try, or a Span")
        found[name] = Choices(tuple(map(_plain_value, values)))
    check_axes(experiment, found)
    return found


def _plain_value(value: Any) -> Any:
    """A value without NumPy and JAX, which JSON and databases do not know; lists as tuples."""
    value = value.tolist() if hasattr(value, "tolist") else value
    return tuple(map(_plain_value, value)) if isinstance(value, list | tuple) else value


def check_axes(experiment: Experiment, axes: Mapping[str, Axis]) -> None:
    """Refuses axes that do not fit an experiment.

    Raises:
        UserError: an unknown setting, a value out of range, an empty list or range.
    """
    for name, axis in axes.items():
        hint = _hint(experiment, name)
        if isinstance(axis, Choices):
            if not axis.values:
                raise UserError(f"{name} is given no values to vary over")
            for value in axis.values:
                check(name, value, hint)
            if any(a == b for a, b in itertools.combinations(axis.values, 2)):
                raise UserError(f"{name} is given a value twice: {_listed(axis.values)}")
        else:
            _check_span(name, hint, axis)


def configurations(axes: Mapping[str, Axis]) -> Iterator[dict[str, Any]]:
    """Every combination of listed values, the last axis fastest.

    Raises:
        UserError: an axis is a range, of which there is no list.
    """
    for name, axis in axes.items():
        if isinstance(axis, Span):
            raise UserError(f"--search grid needs lists of values, and {name} has a range")
    yield from every(axes)


def size_of(axes: Mapping[str, Axis]) -> float:
    """Number of different configurations; infinite where a range is not of whole numbers.

    Example:
        >>> size_of({"hidden": Span(10, 12, whole=True), "l2": Choices((0.0, 1e-4))})
        6
    """
    return math.prod(
        len(axis.values) if isinstance(axis, Choices) else _whole(axis) for axis in axes.values()
    )


def every(axes: Mapping[str, Axis]) -> Iterator[dict[str, Any]]:
    """Every configuration of finitely many, the last axis fastest."""
    lists = [
        axis.values if isinstance(axis, Choices) else range(int(axis.low), int(axis.high) + 1)
        for axis in axes.values()
    ]
    for values in itertools.product(*lists):
        yield dict(zip(axes, values, strict=True))


def _whole(span: Span) -> float:
    return span.high - span.low + 1 if span.whole else math.inf


def configured(experiment: Experiment, configuration: Configuration) -> Experiment:
    """The experiment with the settings of a configuration.

    Raises:
        UserError: the values do not go together.
    """
    places = {name: path for path, name, _, _ in flat_settings(experiment)}
    values = {(places[name], name): value for name, value in configuration.items()}
    return replace_settings(experiment, values)


def _hint(experiment: Experiment, name: str) -> Any:
    hints = {n: hint for _, n, _, hint in flat_settings(experiment) if n not in _FIXED}
    if name not in hints:
        near = difflib.get_close_matches(name, hints, n=1)
        hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(sorted(hints))}"
        raise UserError(f"the experiment has no field {shown(name)} to vary; {hint}")
    return hints[name]


def _choices(name: str, hint: Any, text: str) -> Choices:
    texts = [part.strip() for part in text.split(",")]
    if texts == [""]:
        raise UserError(f"--set {name}= is given no values; write {_FORMS['--set']}")
    return Choices(tuple(_value(name, hint, part) for part in texts))


def _value(name: str, hint: Any, text: str) -> Any:
    """A value of a setting, read as the first of the kinds that its annotation accepts."""
    readings = list(_readings(hint, text))
    for value in readings:
        try:
            check(name, value, hint)
        except UserError:
            continue
        return float(value) if is_numeric(hint) and isinstance(value, int) else value
    check(name, readings[0], hint)
    raise AssertionError("a value that fits is returned")


def _readings(hint: Any, text: str) -> Iterator[Any]:
    if _is_list(hint):
        yield tuple(next(_scalars(part)) for part in text.split())
        return
    yield from _scalars(text)


def _scalars(text: str) -> Iterator[Any]:
    """What a text may mean, the narrowest reading first."""
    if text.lower() == "none":
        yield None
    if text.lower() in ("true", "false"):
        yield text.lower() == "true"
    for kind in (int, float):
        try:
            yield kind(text)
        except ValueError:
            continue
    yield text


def _plain(hint: Any) -> Any:
    """An annotation without its constraint and without None."""
    if typing.get_origin(hint) is Annotated:
        return _plain(typing.get_args(hint)[0])
    kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)]
    return _plain(kinds[0]) if type(None) in typing.get_args(hint) and kinds else hint


def _kinds(hint: Any) -> set[Any]:
    """The kinds of number that an annotation accepts; none where it is of something else."""
    plain = _plain(hint)
    kinds = set(typing.get_args(plain) or (plain,))
    return kinds if kinds <= {int, float} else set()


def _is_list(hint: Any) -> bool:
    return typing.get_origin(_plain(hint)) is tuple


def _span(name: str, hint: Any, text: str) -> Span:
    log = text.startswith("log:")
    low, dots, high = text.removeprefix("log:").partition("..")
    # What is no number is refused with the axis.
    kinds = _kinds(hint) or {float}
    for kind in (int, float):
        if kind in kinds:
            with contextlib.suppress(ValueError):
                return Span(kind(low), kind(high), log, kind is int)
    what = "numbers" if float in kinds else "whole numbers"
    problem = f"{shown(text)} names no two {what}" if dots else f"{shown(text)} has no .."
    raise UserError(f"--range {name}: {problem}; write {_FORMS['--range']}")


def _check_span(name: str, hint: Any, axis: Span) -> None:
    if not _kinds(hint):
        raise UserError(f"--range {name}: the field is no number; --set lists values of it")
    for bound in (axis.low, axis.high):
        check(name, bound, float)
    if axis.low >= axis.high:
        raise UserError(f"--range {name}: {axis.low:g}..{axis.high:g} is empty; LOW must be less")
    if axis.log and axis.low <= 0:
        raise UserError(f"--range {name}: a log range must be greater than 0, not {axis.low:g}")
    for bound in (axis.low, axis.high):
        # An open bound is never drawn, so it is allowed: momentum=0..1.
        if not _is_open_bound(hint, bound):
            check(name, bound, hint)


def _is_open_bound(hint: Any, bound: float) -> bool:
    if typing.get_origin(hint) is not Annotated:
        return any(_is_open_bound(h, bound) for h in typing.get_args(hint))
    limits = [a for a in typing.get_args(hint)[1:] if isinstance(a, Range)]
    return any(
        (limit.low_open and bound == limit.low) or (limit.high_open and bound == limit.high)
        for limit in limits
    )


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(map(str, values))
