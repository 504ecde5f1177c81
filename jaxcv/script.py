"""What an experiment script does when it is run: read the flags, train, end with a status."""

import dataclasses
import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jaxcv import runtime
from jaxcv.exits import exits
from jaxcv.experiment import Experiment

if TYPE_CHECKING:
    from jaxcv.fitting import Result


@dataclasses.dataclass(frozen=True)
class RunFlags:
    """Flags of a run that are no part of its experiment.

    Attributes:
        workdir: where the run leaves its files; default runs/NAME
        resume: go on from the newest checkpoint of the workdir
        verify: before the first training on a backend, check that it computes what it should
        sanity: instead of training, check the initial loss and overfit 100 training images
    """

    workdir: str | None = None
    resume: bool = False
    verify: bool = True
    sanity: bool = False


def run(experiment: Experiment, flags: RunFlags) -> "Result":
    """Trains, with signals noted and compiled programs kept.

    Raises:
        SystemExit: with `flags.sanity` nothing is trained; status 1 where a check fails, else 0.
    """
    if flags.sanity:
        raise SystemExit(check_sanity(experiment))
    from jaxcv.fitting import fit

    runtime.set_up()
    with runtime.signals_noted() as signalled:
        return fit(
            experiment,
            flags.workdir,
            resume=flags.resume,
            verify=flags.verify,
            signalled=signalled,
        )


def check_sanity(experiment: Experiment) -> int:
    """Prints what `jaxcv.sanity` finds on the experiment's data; the exit status."""
    from jaxcv import sanity
    from jaxcv.data import load

    runtime.enable_compilation_cache()
    dataset = load(
        experiment.data, experiment.data_dir, experiment.data_seed, experiment.validation
    )
    found = sanity.check(experiment, dataset)
    print(found.text())
    return 0 if found.holds else 1


def main(
    experiment: Experiment,
    arguments: Sequence[str] | None = None,
    then: Callable[["Result"], None] = lambda result: None,
) -> None:
    """An experiment script's whole program: flags, training, exit status.

    The script's file name names the experiment, its docstring is the help text.

    Args:
        experiment: its values are the flags' defaults.
        arguments: the command line without the program's name; default sys.argv.
        then: what the script does with the finished run.

    Example:
        >>> if __name__ == "__main__":  # doctest: +SKIP
        ...     main(experiment)
    """
    from jaxcv.flags import parse_experiment

    path, text = running_script()
    experiment = named(experiment, path.stem)
    with exits(path.name):
        arguments = sys.argv[1:] if arguments is None else arguments
        experiment, flags = parse_experiment(experiment, arguments, path.name, text, RunFlags)
        then(run(experiment, flags))


def running_script() -> tuple[Path, str]:
    """The path of the script that is being run, and its docstring: the help text."""
    script = sys.modules["__main__"]
    path = Path(getattr(script, "__file__", None) or "experiment.py")
    return path, inspect.cleandoc(script.__doc__ or "")


def named(experiment: Experiment, name: str) -> Experiment:
    """The experiment under its script's name, unless it has one of its own."""
    unnamed = experiment.name == type(experiment).__dataclass_fields__["name"].default
    return dataclasses.replace(experiment, name=name) if unnamed else experiment
