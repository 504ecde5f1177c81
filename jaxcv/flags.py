"""Command-line flags made from dataclasses: flat names, and errors of one line."""

import dataclasses
import difflib
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from jaxcv.constraints import expected, shown
from jaxcv.errors import UserError
from jaxcv.experiment import Experiment, flat_settings, parts, replace_settings

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    T = TypeVar("T", bound=DataclassInstance)
else:  # the bound exists for type checkers alone
    T = TypeVar("T")

# Settings that are no flags: the script names itself, the data decide the classes.
_HIDDEN = {"name", "num_classes"}


def descriptions(cls: type) -> dict[str, str]:
    """What the "Attributes:" section of a class's docstring says of each field."""
    match = re.search(r"\n\s*Attributes:\n(.*?)(?:\n\s*\n|\Z)", cls.__doc__ or "", re.DOTALL)
    if not match:
        return {}
    entries = re.findall(
        r"^\s*(\w+): (.*?)(?=^\s*\w+: |\Z)", match.group(1), re.DOTALL | re.MULTILINE
    )
    return {name: " ".join(text.split()) for name, text in entries}


def parse_experiment(
    experiment: Experiment, arguments: Sequence[str], prog: str, description: str, extra: type[T]
) -> tuple[Experiment, T]:
    """Reads an experiment's flags.

    Args:
        experiment: its values are the defaults, and its parts' fields are the flags.
        arguments: the command line without the program's name.
        prog: the program's name in the help text.
        description: the help text's first paragraph.
        extra: a dataclass of further flags that are no part of the experiment; one that is a
            list of texts is given again for each.

    Returns:
        The experiment as the flags say, and the further flags' values.

    Raises:
        UserError: an unknown flag or a value that does not fit, in one line.
        SystemExit: --help was asked for.
    """
    import tyro

    helps = {path: descriptions(type(part)) for path, part in parts(experiment).items()}
    fields: list[tuple[str, Any, Any]] = []
    places: dict[str, str] = {}
    for path, name, value, hint in flat_settings(experiment):
        if name not in _HIDDEN:
            places[name] = path
            note = tyro.conf.arg(help=helps[path].get(name, ""))
            fields.append((name, Annotated[hint, note], dataclasses.field(default=value)))
    for field in dataclasses.fields(extra):
        note = tyro.conf.arg(help=descriptions(extra).get(field.name, ""))
        kind: Any = Annotated[field.type, note]
        if field.type == tuple[str, ...]:
            kind = tyro.conf.UseAppendAction[kind]
        fields.append((field.name, kind, dataclasses.field(default=field.default)))
    flags = dataclasses.make_dataclass("Flags", fields, kw_only=True)
    given = parse(flags, arguments, prog, description)
    changes = {(path, name): getattr(given, name) for name, path in places.items()}
    rest = {field.name: getattr(given, field.name) for field in dataclasses.fields(extra)}
    return replace_settings(experiment, changes), extra(**rest)


def parse(cls: type[T], arguments: Sequence[str], prog: str, description: str) -> T:
    """Reads the flags that a dataclass's fields are.

    Raises:
        UserError: an unknown flag or a value that does not fit, in one line.
        SystemExit: --help was asked for.
    """
    import tyro
    from tyro import _errors as tyro_errors

    hints = {"--" + f.name.replace("_", "-"): f.type for f in dataclasses.fields(cls)}

    def refuse(event: tyro_errors.ParseErrorEvent) -> None:
        raise UserError(_reason(event, hints, arguments))

    with tyro_errors.on_parse_error(refuse):
        return tyro.cli(cls, args=list(arguments), prog=prog, description=description)


def names_given(arguments: Sequence[str]) -> set[str]:
    """The settings that a command line names, whatever it says of them.

    Example:
        >>> sorted(names_given(["--l2", "-0.1", "--no-verify", "--batch-size=4"]))
        ['batch_size', 'l2', 'no_verify', 'verify']
    """
    flags = [argument[2:] for argument in arguments if argument.startswith("--")]
    names = {flag.partition("=")[0].replace("-", "_") for flag in flags}
    return names | {name.removeprefix("no_") for name in names}


def _reason(event: Any, hints: Mapping[str, Any], arguments: Sequence[str]) -> str:
    """One line that says what is wrong with the command line, and what would be right."""
    tokens = getattr(event, "tokens", None) or getattr(event, "unrecognized_tokens", None)
    if tokens:
        token = str(tokens[0]).split("=")[0]
        if not token.startswith("-"):
            return f"unexpected argument {token!r}; --help lists what there is"
        token = token.replace("_", "-")
        near = difflib.get_close_matches(token, hints, n=1)
        hint = f"did you mean {near[0]}?" if near else "--help lists what there is"
        return f"unknown flag {token}; {hint}"
    argument = getattr(event, "argument", None)
    flag = argument.lowered.name_or_flags[-1] if argument is not None else None
    if flag is None or flag not in hints:
        return str(getattr(event, "reason", None) or getattr(event, "message", event))
    given = _given(flag, arguments)
    found = f"not {shown(' '.join(given))}" if given else "and is given nothing"
    return f"{flag} must be {expected(hints[flag])}, {found}"


def _given(flag: str, arguments: Sequence[str]) -> list[str]:
    """The values that the command line gives a flag, the last time that it names it."""
    given: list[str] = []
    mine = False
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if argument.startswith("--"):
            mine = name.replace("_", "-") == flag
            given = ([value] if equals else []) if mine else given
        elif mine:
            given.append(argument)
    return given
