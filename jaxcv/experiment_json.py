"""Experiments as JSON: experiment.json, written and read back without executing anything."""

import contextlib
import dataclasses
from collections.abc import Mapping
from typing import Any

from jaxcv.constraints import check, is_numeric, shown
from jaxcv.errors import UserError
from jaxcv.experiment import PARTS, Experiment, field_hints, parts, settings

# What is called of a part, by the field that holds it.
_METHODS = {
    "model": "apply",
    "optimizer": "transform",
    "loss": "totals",
    "schedule": "factor",
    "augmentation": "__call__",
}


def to_json(experiment: Experiment) -> dict[str, Any]:
    """The experiment as nested dicts, lists, numbers and strings; parts carry their `type`."""

    def plain(part: Any) -> dict[str, Any]:
        record: dict[str, Any] = (
            {"type": type(part).__name__} if not isinstance(part, Experiment) else {}
        )
        for name, value, _ in settings(part):
            record[name] = _plain_value(value)
        return record

    record = plain(experiment)
    record.update({path: plain(part) for path, part in parts(experiment).items() if path})
    for path in [path for path in record if path.startswith("augmentation.")]:
        del record[path]
    record["augmentation"] = [plain(part) for part in experiment.augmentation]
    return record


def _plain_value(value: Any) -> Any:
    """A setting without NumPy's numbers, which JSON does not know; lists for tuples."""
    if isinstance(value, tuple):
        return [_plain_value(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value


def from_json(record: Mapping[str, Any], known: Mapping[str, type]) -> Experiment:
    """Rebuilds an experiment; only the types in `known` are ever constructed.

    Args:
        record: what `to_json` made, perhaps read from a file that somebody else wrote.
        known: every part's class by name.

    Raises:
        UserError: a field is missing, unknown, out of range or of another type.
    """
    try:
        return _from_json(record, known)
    except RecursionError:
        raise UserError("experiment.json: its lists are nested too deeply") from None


def _from_json(record: Mapping[str, Any], known: Mapping[str, type]) -> Experiment:

    def fields(cls: type, record: Any, where: str) -> dict[str, Any]:
        if not isinstance(record, Mapping):
            raise UserError(f"experiment.json: {where} must be an object")
        hints = field_hints(cls)
        names = {f.name for f in dataclasses.fields(cls) if f.init} - {"parent"}
        if cls is not Experiment:
            names -= {"name"}
        unknown = sorted(set(record) - names - {"type"})
        if unknown:
            raise UserError(f"experiment.json: {where} has no field {shown(unknown[0])}")
        values = {}
        for name, value in record.items():
            if name == "type":
                continue
            values[name] = _as(hints[name], value)
            if name not in _METHODS:
                check(name, values[name], hints[name])
        return values

    def part(name: str, value: Any) -> Any:
        kind = value.get("type") if isinstance(value, Mapping) else None
        if not isinstance(kind, str) or kind not in known:
            raise UserError(
                f"experiment.json: {name} has the unknown type {shown(kind)}; "
                f"known are {', '.join(sorted(known))}"
            )
        if not _fits(known[kind], name):
            raise UserError(f"experiment.json: {name} cannot be of the type {kind}")
        values = fields(known[kind], value, name)
        try:
            return known[kind](**values)
        except TypeError as error:
            raise UserError(f"experiment.json: {name}: {error}") from None

    values = fields(Experiment, record, "the experiment")
    missing = set(PARTS) - set(values)
    if missing:
        raise UserError(f"experiment.json: the field {sorted(missing)[0]!r} is missing")
    for name in PARTS:
        values[name] = part(name, values[name])
    augmentation = record.get("augmentation", [])
    if not isinstance(augmentation, list):
        raise UserError("experiment.json: augmentation must be a list")
    values["augmentation"] = tuple(part("augmentation", value) for value in augmentation)
    try:
        return Experiment(**values)
    except TypeError as error:
        raise UserError(f"experiment.json: {error}") from None


def _as(hint: Any, value: Any) -> Any:
    """A JSON value as the field has it: lists become tuples, 1 becomes 1.0 in a float field."""
    if isinstance(value, list):
        return tuple(_as(hint, v) for v in value)
    whole = isinstance(value, int) and not isinstance(value, bool)
    if whole and is_numeric(hint):
        # What no float can hold stays as it is, and is refused by its range.
        with contextlib.suppress(OverflowError):
            return float(value)
    return value


def _fits(cls: type, where: str) -> bool:
    """Whether a part can stand where it is named, by the method that is called there."""
    methods = {name for base in cls.__mro__ for name in vars(base)}
    return ("apply" in methods) == (where == "model") and _METHODS[where] in methods


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Names of the settings in which two experiments, as JSON, differ: "learning_rate", ...

    Of a part of another type its own name, with both: "model ('CNN', here 'MLP')".
    """
    names = []
    for key in sorted({*one, *other}):
        a, b = one.get(key), other.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            one_type, other_type = a.get("type"), b.get("type")
            if one_type == other_type:
                names += differences(a, b)
            else:
                names.append(f"{key} ({shown(one_type)}, here {shown(other_type)})")
        elif a != b:
            names.append(key)
    return names
