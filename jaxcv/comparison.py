"""Scripts that train several experiments and show them together."""

import dataclasses
import itertools
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jaxcv import pages
from jaxcv.errors import UserError
from jaxcv.exits import exits
from jaxcv.experiment import Experiment, flat_settings, replace_settings
from jaxcv.files import write_bytes
from jaxcv.script import RunFlags, goes_on, run, running_script

if TYPE_CHECKING:
    from jaxcv.fitting import Result

Runs = Mapping[str, "Result"]


def compare(
    experiments: Mapping[str, Experiment],
    then: Callable[[Path, Runs], None],
    arguments: Sequence[str] | None = None,
) -> None:
    """A comparing script's whole program: flags, one run after another, what they show together.

    The flags are those of the first experiment. What the command line names holds for each
    experiment that has such a setting; where that leaves no difference between two of them, it is
    refused. Each run has a directory in the workdir, by its name; one
    that is finished is not run again.

    Args:
        experiments: by name.
        then: makes something of the runs in the workdir; of several processes the first does it.
        arguments: the command line without the program's name; default sys.argv.
    """
    from jaxcv.flags import parse_experiment

    path, text = running_script()
    with exits(path.name):
        arguments = sys.argv[1:] if arguments is None else arguments
        first = next(iter(experiments.values()))
        parsed, flags = parse_experiment(first, arguments, path.name, text, RunFlags)
        changed = given(parsed, arguments)
        workdir = Path(flags.workdir or f"runs/{path.stem}")
        asked = {name: applied(it, changed) for name, it in experiments.items()}
        require_different(experiments, asked)
        runs = {}
        for name, experiment in asked.items():
            print(f"--- {name}")
            it = dataclasses.replace(experiment, name=f"{path.stem}-{name}")
            runs[name] = run(it, dataclasses.replace(flags, workdir=str(workdir / name)))
        if goes_on():
            then(workdir, runs)


def given(experiment: Experiment, arguments: Sequence[str]) -> dict[tuple[str, str], object]:
    """The settings, by path of the part and name, that a command line names, as it has them.

    Also those that it gives the value they have anyway: elsewhere the value may be another.
    """
    from jaxcv.flags import names_given

    names = names_given(arguments)
    return {
        (path, name): value for path, name, value, _ in flat_settings(experiment) if name in names
    }


def applied(experiment: Experiment, changed: Mapping[tuple[str, str], object]) -> Experiment:
    """The experiment with those of the changes that it has a setting for."""
    mine = {(path, name) for path, name, _, _ in flat_settings(experiment)}
    return replace_settings(experiment, {k: v for k, v in changed.items() if k in mine})


def require_different(before: Mapping[str, Experiment], after: Mapping[str, Experiment]) -> None:
    """Refuses flags that make one run of two.

    Raises:
        UserError: they name all that two of the experiments differ in.
    """
    for one, other in itertools.combinations(before, 2):
        if before[one] != before[other] and after[one] == after[other]:
            pairs = zip(flat_settings(before[one]), flat_settings(before[other]), strict=True)
            flags = [f"--{a[1].replace('_', '-')}" for a, b in pairs if a[2] != b[2]]
            raise UserError(
                f"{one!r} and {other!r} differ in {', '.join(flags)} alone, which this script "
                "chooses itself: leave it out"
            )


def write_page(
    path: Path,
    title: str,
    figures: Mapping[str, Path],
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
) -> None:
    """Writes a comparison as one page that needs no network.

    Args:
        path: the page.
        title: its heading.
        figures: caption to PNG file.
        columns: heads of the table.
        rows: its rows, plain text.
    """
    parts = [f"<header><h1>{pages.text(title)}</h1></header>", pages.table(columns, rows)]
    parts += [pages.figure(png.read_bytes(), caption) for caption, png in figures.items()]
    write_bytes(path, pages.page(f"{title} · jaxcv", parts).encode("utf-8", "replace"))
    print(f"page: {path}")
