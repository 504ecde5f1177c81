"""`jaxcv sweep EXPERIMENT [flags]`."""

import dataclasses
import runpy
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from jaxcv import peers, runtime
from jaxcv.constraints import Count, Index, check
from jaxcv.errors import UserError
from jaxcv.exits import exits
from jaxcv.experiment import Experiment, field_hints
from jaxcv.flags import names_given, parse_experiment
from jaxcv.script import Choice, named, running_script
from jaxcv.sweeps.axes import Axis, Choices, Span, read_axes
from jaxcv.sweeps.executors import Executor
from jaxcv.sweeps.pruning import Pruner
from jaxcv.sweeps.search import Strategy
from jaxcv.sweeps.sweep import LANES, SweepResult, sweep
from jaxcv.sweeps.trainer import LaneMode


@dataclasses.dataclass(frozen=True)
class SweepFlags:
    """Flags of a sweep that are no part of its experiment.

    Attributes:
        set: values to try, FIELD=VALUE,VALUE,...; given again for another field
        range: numbers to try, FIELD=LOW..HIGH or FIELD=log:LOW..HIGH; given again for another
        search: grid of all --set values, or random, qmc or tpe over --set and --range
        trials: configurations to try where the search is no grid
        seeds: how many seeds each configuration is trained with, from --seed on
        search_seed: seed of the search
        pruner: gives up trials that fall behind on the validation images: median, worse than the
            median of the complete trials at that epoch; halving, not in the best quarter at epochs
            1, 4, 16, ...; hyperband, halving with thirds, for some trials from later epochs on
        lane_mode: map, one trial after another with the bits of a lone run; vmap, all lanes at
            once; auto, map on a CPU and vmap elsewhere
        lanes: trials at a time
        executor: local, in this process; ray, as tasks of a Ray cluster
        address: of the Ray cluster, HOST:PORT; default one on this machine
        storage: URL of the study's database; default study.db in the workdir
        workdir: where the sweep leaves its files; default runs/NAME-sweep
        resume: a sweep always goes on where it stopped; accepted, and changes nothing
        verify: before the first training on a backend, check that it computes what it should
    """

    set: tuple[str, ...] = ()
    range: tuple[str, ...] = ()
    search: Strategy | None = None
    trials: Count | None = None
    seeds: Count | None = None
    search_seed: Index = 0
    pruner: Pruner = "none"
    lane_mode: LaneMode = "auto"
    lanes: Count = LANES
    executor: Literal["local", "ray"] = "local"
    address: str | None = None
    storage: str | None = None
    workdir: str | None = None
    resume: bool = False
    verify: bool = True

    def __post_init__(self):
        for name in ("trials", "seeds", "lanes", "search_seed"):
            check(name, getattr(self, name), field_hints(SweepFlags)[name])
        if self.address is not None and self.executor != "ray":
            raise UserError("--address is of a Ray cluster: add --executor ray")
        if self.pruner != "none" and self.executor != "local":
            raise UserError("--pruner compares trials while they train: it is for --executor local")


def run(arguments: Sequence[str], script: Path, prog: str, seeds: int | None = None) -> SweepResult:
    """Reads a sweep's flags and does it.

    Args:
        arguments: the flags.
        script: of the experiment, or its experiment.json.
        prog: names the command in the help text.
        seeds: default of --seeds.
    """
    text = "Trains an experiment many times; its own flags say what every trial begins with."
    found = experiment_of(script)
    if isinstance(found, Choice):
        found = _named_choice(found, script.stem)
    else:
        found = named(found, script.stem)
    return perform(*read(arguments, found, prog, text, seeds=seeds))


def main(
    experiment: Experiment | Choice,
    axes: Mapping[str, Axis | Sequence[Any]],
    seeds: int | None = None,
    then: Callable[[SweepResult], None] = lambda result: None,
) -> None:
    """A sweeping script's whole program: flags, the sweep, exit status.

    The flags are those of `jaxcv sweep`; --set and --range replace an axis or add one.

    Args:
        experiment: what every trial begins with; or several of which a flag chooses one.
        axes: what varies, unless the command line says otherwise.
        seeds: default of --seeds.
        then: what the script does with what was found.

    Example:
        >>> if __name__ == "__main__":  # doctest: +SKIP
        ...     main(experiment, {"hidden": [10, 60, 100]}, seeds=3)
    """
    path, text = running_script()
    with exits(path.name):
        if isinstance(experiment, Choice):
            experiment = _named_choice(experiment, path.stem)
        else:
            experiment = named(experiment, path.stem)
        then(perform(*read(sys.argv[1:], experiment, path.name, text, axes, seeds)))


def read(
    arguments: Sequence[str],
    experiment: Experiment | Choice,
    prog: str,
    text: str,
    axes: Mapping[str, Axis | Sequence[Any]] = MappingProxyType({}),
    seeds: int | None = None,
    extra: type[SweepFlags] = SweepFlags,
) -> tuple[Experiment, dict[str, Axis], Any]:
    """The experiment, the axes and the flags that a command line says.

    Args:
        arguments: the flags.
        experiment: its values are defaults; or several of which a flag chooses one.
        prog: names the command in the help text.
        text: its first paragraph.
        axes: what varies, unless the flags say otherwise.
        seeds: default of --seeds.
        extra: further flags.

    Raises:
        UserError: they do not fit.
        SystemExit: --help was asked for.
    """
    if isinstance(experiment, Choice):
        experiment, extra = experiment.chosen(arguments, extra)
    experiment, flags = parse_experiment(experiment, arguments, prog, text, extra)
    said = read_axes(experiment, flags.set, flags.range)
    given = names_given(arguments)
    for name in [*axes, *said]:
        if name in given:
            flag = f"--{name.replace('_', '-')}"
            raise UserError(
                f"{flag} gives one value to what the sweep varies; leave it out, or list the "
                f"values: --set {name}=..."
            )
    listed = {n: a if isinstance(a, Choices | Span) else Choices(tuple(a)) for n, a in axes.items()}
    if seeds is not None and flags.seeds is None and "seed" not in said:
        flags = dataclasses.replace(flags, seeds=seeds)
    return experiment, {**listed, **said}, flags


def perform(
    experiment: Experiment, axes: Mapping[str, Axis], flags: SweepFlags, below: str = ""
) -> SweepResult:
    """Does the sweep that flags say, with signals noted and compiled programs kept.

    Args:
        experiment: what every trial begins with.
        axes: what varies.
        flags: of the sweep.
        below: directory in the workdir, for a script that does several.
    """
    workdir = Path(flags.workdir or f"runs/{experiment.name}-sweep") / below
    if below:
        # Several studies in one --storage have names of their own.
        experiment = dataclasses.replace(experiment, name=f"{experiment.name}-{below}")
    peers.require_alone("a sweep")
    runtime.set_up()
    executor: Executor | None = None
    if flags.executor == "ray":
        from jaxcv.sweeps.ray_executor import Ray

        executor = Ray(flags.address, flags.lane_mode, flags.lanes, flags.verify)
    with runtime.signals_noted() as signalled:
        return sweep(
            experiment,
            axes,
            workdir,
            seeds=flags.seeds,
            search=flags.search,
            trials=flags.trials,
            search_seed=flags.search_seed,
            pruner=flags.pruner,
            storage=flags.storage,
            lane_mode=flags.lane_mode,
            lanes=flags.lanes,
            executor=executor,
            verify=flags.verify,
            signalled=signalled,
        )


def _named_choice(choice: Choice, name: str) -> Choice:
    experiments = {key: named(value, name) for key, value in choice.experiments.items()}
    return dataclasses.replace(choice, experiments=experiments)


def experiment_of(path: Path) -> Experiment | Choice:
    """The experiment of a script, which is read without training, or of an experiment.json.

    Raises:
        UserError: the script has none, or several, or is a sweep itself.
    """
    if path.suffix == ".json":
        from jaxcv.experiment_json import from_json
        from jaxcv.files import read_json
        from jaxcv.parts import PART_TYPES

        return from_json(read_json(path), PART_TYPES)
    names: dict[str, Any] = runpy.run_path(str(path), run_name="__jaxcv_sweep__")
    if {id(main), id(run), id(perform), id(sweep)} & set(map(id, names.values())):
        raise UserError(f"{path.name} is a sweep itself; it runs with: python {path}")
    found = {id(v): v for v in names.values() if isinstance(v, Choice)}
    # A choice stands for the experiments that it chooses from.
    found = found or {id(v): v for v in names.values() if isinstance(v, Experiment)}
    if len(found) != 1:
        what = "several experiments" if found else "no experiment of its own"
        raise UserError(
            f"{path.name} has {what}: a sweep needs a script with one, such as "
            f"experiments/cnn.py; what it does by itself: python {path}"
        )
    return next(iter(found.values()))
