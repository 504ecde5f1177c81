"""The `jaxcv` program: thin, and light to start; what a command needs is imported by it."""

import ast
import sys
from collections.abc import Sequence
from pathlib import Path

from jaxcv.errors import UserError
from jaxcv.files import unwritable

_COMMANDS = {
    "list": "name the experiments, with what each is",
    "run": "train an experiment: its name, its script or a saved experiment.json",
    "sweep": "train an experiment many times, over settings and seeds",
    "report": "make the report.html of a run or of a sweep again",
    "inspect": "a network's layers: shapes, parameters, receptive fields, multiply-adds",
    "verify": "check that this machine computes what it should",
    "bench": "measure how fast training is here, beside other frameworks",
}


def help_text() -> str:
    """What `jaxcv --help` prints."""
    width = max(map(len, _COMMANDS))
    commands = "\n".join(f"  {name:<{width}}  {text}" for name, text in _COMMANDS.items())
    return (
        "usage: jaxcv COMMAND ...\n\n"
        "Vision experiments in JAX that can be trusted, swept and resumed.\n\n"
        f"commands:\n{commands}\n\n"
        "`jaxcv COMMAND --help` says what a command takes; `jaxcv run NAME --help` lists an\n"
        "experiment's flags. `jaxcv --version` tells the version."
    )


def experiments_folder() -> Path:
    """The folder that experiments are named from: ./experiments, else the checkout's own."""
    here = Path("experiments")
    return here if here.is_dir() else Path(__file__).parent.parent / "experiments"


def summary(script: Path) -> str:
    """The first line of a script's docstring, read without running it."""
    try:
        text = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8")))
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{script} cannot be read as Python: {error}") from None
    return (text or "").split("\n")[0]


def scripts() -> list[Path]:
    """The experiment scripts, by name."""
    return sorted(experiments_folder().glob("*.py"))


def list_experiments(arguments: Sequence[str]) -> None:
    """`jaxcv list`."""
    _no_arguments("list", arguments, "usage: jaxcv list\n\n" + _COMMANDS["list"])
    found = scripts()
    if not found:
        raise UserError(f"no experiment scripts in {experiments_folder()}")
    width = max(len(path.stem) for path in found)
    for path in found:
        print(f"{path.stem:<{width}}  {summary(path)}".rstrip())


def report(arguments: Sequence[str]) -> None:
    """`jaxcv report WORKDIR`."""
    usage = "usage: jaxcv report WORKDIR\n\n" + _COMMANDS["report"]
    if _asks_for_help(arguments):
        print(usage)
        return
    if len(arguments) != 1:
        raise UserError("report takes one workdir: jaxcv report WORKDIR")
    workdir = Path(arguments[0])
    if (workdir / "sweep.json").is_file():
        from jaxcv.sweeps.report import report_again

        print(report_again(workdir))
        return
    from jaxcv.reports import write_report

    try:
        print(write_report(workdir))
    except OSError as error:
        raise unwritable(workdir, error) from None


def inspect(arguments: Sequence[str]) -> None:
    """`jaxcv inspect MODEL [--input 32,32,3] [--json]`."""
    from jaxcv.inspection_table import run

    run(arguments)


def verify(arguments: Sequence[str]) -> None:
    """`jaxcv verify [--json] [--deep]`."""
    from jaxcv.verification.command import run

    run(arguments)


def bench(arguments: Sequence[str]) -> None:
    """`jaxcv bench [flags]`."""
    from jaxcv.benchmarks.command import run

    run(arguments)


def run(arguments: Sequence[str]) -> None:
    """`jaxcv run EXPERIMENT [flags]`."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(
            "usage: jaxcv run EXPERIMENT [flags]\n\n"
            "EXPERIMENT is a name that `jaxcv list` shows, a script, or an experiment.json.\n"
            "`jaxcv run EXPERIMENT --help` lists its flags."
        )
        if not arguments:
            raise UserError("run needs an experiment: a name, a script or an experiment.json")
        return
    target, flags = arguments[0], list(arguments[1:])
    if target.endswith(".json"):
        _run_saved(Path(target), flags)
    else:
        _run_script(find_script(target), flags)


def sweep(arguments: Sequence[str]) -> None:
    """`jaxcv sweep EXPERIMENT [flags]`."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(
            "usage: jaxcv sweep EXPERIMENT [--set FIELD=A,B] [--range FIELD=LOW..HIGH] [flags]\n\n"
            "EXPERIMENT is a name that `jaxcv list` shows, a script, or an experiment.json.\n"
            "`jaxcv sweep EXPERIMENT --help` lists the sweep's flags and the experiment's."
        )
        if not arguments:
            raise UserError("sweep needs an experiment: a name, a script or an experiment.json")
        return
    from jaxcv.sweeps.command import run

    target = arguments[0]
    script = Path(target) if target.endswith(".json") else find_script(target)
    run(arguments[1:], script, f"jaxcv sweep {script.name}")


def find_script(target: str) -> Path:
    """The script of an experiment that is named by its path or its name in experiments/.

    Raises:
        UserError: there is none.
    """
    path = Path(target)
    if path.suffix == ".py":
        if not path.is_file():
            raise UserError(f"{target}: no such script")
        return path
    named = experiments_folder() / f"{target}.py"
    if "/" in target or not named.is_file():
        import difflib

        near = difflib.get_close_matches(target, [path.stem for path in scripts()], n=1)
        hint = f"did you mean {near[0]}?" if near else "`jaxcv list` names them"
        raise UserError(f"no experiment {target!r}; {hint}")
    return named


def _run_script(script: Path, flags: list[str]) -> None:
    import runpy

    sys.argv = [str(script), *flags]
    runpy.run_path(str(script), run_name="__main__")


def _run_saved(path: Path, flags: list[str]) -> None:
    from jaxcv.experiment_json import from_json
    from jaxcv.files import read_json
    from jaxcv.flags import parse_experiment
    from jaxcv.parts import PART_TYPES
    from jaxcv.script import RunFlags
    from jaxcv.script import run as run_experiment

    experiment = from_json(read_json(path), PART_TYPES)
    prog = f"jaxcv run {path.name}"
    text = "Trains the saved experiment; the flags change single settings."
    run_experiment(*parse_experiment(experiment, flags, prog, text, RunFlags))


def _asks_for_help(arguments: Sequence[str]) -> bool:
    return any(argument in ("-h", "--help") for argument in arguments)


def _no_arguments(command: str, arguments: Sequence[str], usage: str) -> None:
    if _asks_for_help(arguments):
        print(usage)
        raise SystemExit(0)
    if arguments:
        raise UserError(f"{command} takes no arguments, got {arguments[0]!r}")


def entry(arguments: Sequence[str] | None = None) -> None:
    """The program: dispatches to a command, ends with its exit status."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(help_text())
        raise SystemExit(0 if arguments else 2)
    if arguments[0] == "--version":
        from importlib.metadata import version

        print(f"jaxcv {version('jaxcv')}")
        return
    table = {
        "list": list_experiments,
        "run": run,
        "sweep": sweep,
        "report": report,
        "inspect": inspect,
        "verify": verify,
        "bench": bench,
    }
    from jaxcv.exits import exits

    with exits("jaxcv"):
        if arguments[0] not in table:
            import difflib

            near = difflib.get_close_matches(arguments[0], list(table), n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(table)}"
            raise UserError(f"unknown command {arguments[0]!r}; {hint}")
        table[arguments[0]](arguments[1:])
