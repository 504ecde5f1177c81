"""What an experiment script does when it is run: read the flags, train, end with a status."""

import dataclasses
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from jaxcv import peers, runtime
from jaxcv.constraints import Count, Positive, check
from jaxcv.exits import exits
from jaxcv.experiment import Experiment, flat_settings, replace_settings

if TYPE_CHECKING:
    from jaxcv.fitting import Result

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class RunFlags:
    """Flags of a run that are no part of its experiment.

    Attributes:
        workdir: where the run leaves its files; default runs/NAME
        resume: go on from the newest checkpoint of the workdir
        checkpoint_minutes: between two checkpoints inside an epoch; its end has one, too, unless
            the last is younger than a second
        devices: how many devices share each batch; all: those that there are
        verify: before the first training on a backend, check that it computes what it should
        sanity: instead of training, check the initial loss and overfit 100 training images
    """

    workdir: str | None = None
    resume: bool = False
    checkpoint_minutes: Positive = 5.0
    devices: Count | Literal["all"] = 1
    verify: bool = True
    sanity: bool = False

    def __post_init__(self):
        """Refuses values out of range."""
        for field in dataclasses.fields(RunFlags):
            check(field.name, getattr(self, field.name), field.type)


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
            checkpoint_minutes=flags.checkpoint_minutes,
            devices=flags.devices,
            signalled=signalled,
        )


def goes_on() -> bool:
    """Whether this process does what follows the training: the first of a run's, then alone.

    The files are the first one's, and so is `Result.record`.
    """
    from jaxcv.devices import is_first

    first = is_first()
    peers.part()
    return first


def check_sanity(experiment: Experiment) -> int:
    """Prints what `jaxcv.sanity` finds on the experiment's data; the exit status."""
    from jaxcv import sanity
    from jaxcv.data import load

    runtime.set_up()
    dataset = load(
        experiment.data, experiment.data_dir, experiment.data_seed, experiment.validation
    )
    found = sanity.check(experiment, dataset)
    print(found.text())
    return 0 if found.holds else 1


@dataclasses.dataclass(frozen=True)
class Choice:
    """Experiments of which a flag chooses one: its own settings are the further flags.

    Attributes:
        flag: the flag's name, without dashes
        experiments: by the values of the flag; the first is the default
        note: what the flag's help says
        for_data: by data set, as --data names it, settings by name that have another default
            there, whichever experiment is chosen
    """

    flag: str
    experiments: Mapping[str, Experiment]
    note: str = ""
    for_data: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)

    def chosen(self, arguments: Sequence[str], flags_class: type[T]) -> tuple[Experiment, type[T]]:
        """The experiment that a command line chooses, and further flags with this one."""
        names = list(self.experiments)
        name = _given(self.flag, arguments, names[0])
        # Any other name is for the flags' own reading to refuse.
        experiment = self.experiments.get(name, self.experiments[names[0]])
        other = self.for_data.get(_given("data", arguments, experiment.data), {})
        places = {name: path for path, name, _, _ in flat_settings(experiment)}
        experiment = replace_settings(
            experiment, {(places[name], name): value for name, value in other.items()}
        )
        default = name if name in names else names[0]
        flags = dataclasses.make_dataclass(
            "ChosenFlags",
            [(self.flag, Literal[tuple(names)], dataclasses.field(default=default))],
            bases=(flags_class,),
            frozen=True,
        )
        flags.__doc__ = f"{flags_class.__doc__}    {self.flag}: {self.note}\n"
        return experiment, flags


def _given(flag: str, arguments: Sequence[str], default: str) -> str:
    """The last value of a flag on a command line."""
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=False):
        name, equals, value = argument.partition("=")
        if name == f"--{flag}":
            default = value if equals else following
    return default


def main(
    experiment: Experiment | Choice,
    arguments: Sequence[str] | None = None,
    then: Callable[["Result"], None] = lambda result: None,
) -> None:
    """An experiment script's whole program: flags, training, exit status.

    The script's file name names the experiment, its docstring is the help text.

    Args:
        experiment: its values are the flags' defaults; or several of which a flag chooses one.
        arguments: the command line without the program's name; default sys.argv.
        then: what the script does with the finished run; of several processes the first does it.

    Example:
        >>> if __name__ == "__main__":  # doctest: +SKIP
        ...     main(experiment)
    """
    from jaxcv.flags import parse_experiment

    path, text = running_script()
    with exits(path.name):
        arguments = sys.argv[1:] if arguments is None else arguments
        extra = RunFlags
        if isinstance(experiment, Choice):
            experiment, extra = experiment.chosen(arguments, RunFlags)
        experiment = named(experiment, path.stem)
        experiment, flags = parse_experiment(experiment, arguments, path.name, text, extra)
        result = run(experiment, flags)
        if goes_on():
            then(result)


def running_script() -> tuple[Path, str]:
    """The path of the script that is being run, and its docstring: the help text."""
    script = sys.modules["__main__"]
    path = Path(getattr(script, "__file__", None) or "experiment.py")
    return path, inspect.cleandoc(script.__doc__ or "")


def named(experiment: Experiment, name: str) -> Experiment:
    """The experiment under its script's name, unless it has one of its own."""
    unnamed = experiment.name == type(experiment).__dataclass_fields__["name"].default
    return dataclasses.replace(experiment, name=name) if unnamed else experiment
