"""`jaxcv sweep EXPERIMENT [flags]`."""

import dataclasses
import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from jaxcv import runtime
from jaxcv.constraints import Count, Index, check
from jaxcv.errors import UserError
from jaxcv.experiment import Experiment, field_hints
from jaxcv.flags import parse_experiment
from jaxcv.script import Choice, named
from jaxcv.sweeps.axes import read_axes
from jaxcv.sweeps.executors import Executor
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
        seeds: seeds of each configuration, 0, 1, ...; default the one of --seed
        search_seed: seed of the search
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


def run(arguments: Sequence[str], script: Path, prog: str) -> SweepResult:
    """Reads a sweep's flags and does it.

    Args:
        arguments: the flags.
        script: of the experiment, or its experiment.json.
        prog: names the command in the help text.
    """
    text = "Trains an experiment many times; its own flags say what every trial begins with."
    found = experiment_of(script)
    flags_class: type[SweepFlags] = SweepFlags
    if isinstance(found, Choice):
        found, flags_class = found.chosen(arguments, SweepFlags)
    experiment, flags = parse_experiment(
        named(found, script.stem), arguments, prog, text, flags_class
    )
    axes = read_axes(experiment, flags.set, flags.range)
    runtime.set_up()
    executor: Executor | None = None
    if flags.executor == "ray":
        from jaxcv.sweeps.ray_executor import Ray

        executor = Ray(flags.address, flags.lane_mode, flags.lanes, flags.verify)
    with runtime.signals_noted() as signalled:
        return sweep(
            experiment,
            axes,
            flags.workdir,
            seeds=flags.seeds,
            search=flags.search,
            trials=flags.trials,
            search_seed=flags.search_seed,
            storage=flags.storage,
            lane_mode=flags.lane_mode,
            lanes=flags.lanes,
            executor=executor,
            verify=flags.verify,
            signalled=signalled,
        )


def experiment_of(path: Path) -> Experiment | Choice:
    """The experiment of a script, which is read without training, or of an experiment.json.

    Raises:
        UserError: the script has none, or several.
    """
    if path.suffix == ".json":
        from jaxcv.experiment_json import from_json
        from jaxcv.files import read_json
        from jaxcv.parts import PART_TYPES

        return from_json(read_json(path), PART_TYPES)
    names: dict[str, Any] = runpy.run_path(str(path), run_name="__jaxcv_sweep__")
    found = {id(v): v for v in names.values() if isinstance(v, Experiment | Choice)}
    if len(found) != 1:
        what = "several experiments" if found else "no experiment of its own"
        raise UserError(
            f"{path.name} has {what}: a sweep needs a script with one, such as experiments/cnn.py"
        )
    return next(iter(found.values()))
