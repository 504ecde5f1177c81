"""A sweep as a value: what is varied, how, over which seeds; and its JSON form."""

import dataclasses
import fnmatch
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxcv.constraints import Count, Index, check
from jaxcv.errors import UserError
from jaxcv.experiment import Experiment
from jaxcv.experiment_json import differences, from_json, to_json
from jaxcv.files import read_json, remove_leftovers, write_json
from jaxcv.locks import NAME
from jaxcv.parts import PART_TYPES
from jaxcv.sweeps.axes import Axis, Choices, Span, as_axes, size_of
from jaxcv.sweeps.pruning import Pruner
from jaxcv.sweeps.search import Search, Strategy
from jaxcv.workdirs import FREE


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a sweep is to do; where and how fast is not part of it.

    Attributes:
        experiment: what every trial begins with.
        search: how its configurations are chosen.
        seeds: of each configuration.
        pruner: gives up trials early.
    """

    experiment: Experiment
    search: Search
    seeds: tuple[int, ...]
    pruner: Pruner = "none"

    @property
    def axes(self) -> Mapping[str, Axis]:
        """What varies."""
        return self.search.axes

    @property
    def longest(self) -> int:
        """Epochs of the longest trial."""
        axis = self.axes.get("epochs", Choices((self.experiment.epochs,)))
        return math.ceil(axis.high if isinstance(axis, Span) else max(axis.values))

    @property
    def total(self) -> int:
        """Trials of the whole sweep."""
        return self.search.size * len(self.seeds)

    def as_json(self) -> dict[str, Any]:
        """Nested dicts, lists, numbers and strings: equal for equal sweeps."""
        # Without a pruner a sweep is what it was before there were any.
        pruner = {} if self.pruner == "none" else {"pruner": self.pruner}
        return {
            "experiment": to_json(self.experiment),
            "axes": {name: _axis(axis) for name, axis in self.axes.items()},
            "search": self.search.strategy,
            "trials": self.search.configurations,
            "search_seed": self.search.seed,
            "seeds": list(self.seeds),
            **pruner,
        }

    def identity(self) -> dict[str, Any]:
        """What makes it this sweep: not where its data lie, nor how many trials are asked for."""
        whole = self.as_json()
        return {**whole, "trials": None, "experiment": {**whole["experiment"], "data_dir": None}}


def make_plan(
    experiment: Experiment,
    axes: Mapping[str, Axis | Sequence[Any]],
    *,
    seeds: int | None = None,
    search: Strategy | None = None,
    trials: int | None = None,
    search_seed: int = 0,
    pruner: Pruner = "none",
) -> Plan:
    """A plan from what a user says.

    Args:
        experiment: what every trial begins with.
        axes: by the names of settings: a `Span`, or the values to try.
        seeds: 3 means the experiment's own and the two after it; None its own alone.
        search: None for a grid where nothing has a range and no number of trials is said, else
            for random draws.
        trials: configurations to try.
        search_seed: of the sampler.
        pruner: gives up trials early.

    Raises:
        UserError: these do not go together, or not with the experiment.
    """
    check("seeds", seeds, Count | None)
    check("search", search, Strategy | None)
    check("trials", trials, Count | None)
    check("search_seed", search_seed, Index)
    check("pruner", pruner, Pruner)
    known = as_axes(experiment, axes)
    if "seed" in known and seeds is not None:
        raise UserError("--set seed=... and --seeds say the same thing twice; choose one")
    held_out = known.get("validation", Choices(()))
    if isinstance(held_out, Choices) and 0 in held_out.values and len(set(held_out.values)) > 1:
        raise UserError(
            "--set validation=0,...: without validation images the test images rank, and one "
            "ranking cannot have both; make it two sweeps"
        )
    ranges = [name for name, axis in known.items() if isinstance(axis, Span)]
    if search is None:
        search = "grid" if trials is None and not ranges else "random"
    if trials is not None and known and trials > size_of(known):
        raise UserError(
            f"--trials {trials} is more than the {size_of(known):.0f} different configurations of "
            "these lists and ranges"
        )
    larger = experiment.loss.score.larger_is_better
    return Plan(
        experiment,
        Search(known, search, trials, search_seed, larger),
        tuple(range(experiment.seed, experiment.seed + (seeds or 1))),
        pruner,
    )


def look(workdir: Path, plan: Plan) -> None:
    """Refuses a directory that holds something else; nothing is changed.

    More trials of the same search may be asked for: they come after those that are done.

    Raises:
        UserError: it holds files that are not a sweep's, or another sweep.
    """
    path = workdir / "sweep.json"
    if not path.exists():
        if workdir.exists() and (not workdir.is_dir() or any(_visible(workdir))):
            raise UserError(
                f"{workdir} holds files that are not a sweep's; choose another --workdir"
            )
        return
    before, now = read_json(path), plan.as_json()
    # What varies is no longer free to be another.
    changed = set(differences(before, now)) - (FREE - set(plan.axes))
    done, asked = before.get("trials"), now["trials"]
    if isinstance(done, int) and isinstance(asked, int) and done < asked:
        changed -= {"trials"}
    if changed:
        raise UserError(
            f"{workdir} holds a sweep with another {', '.join(sorted(changed))}; "
            "choose another --workdir or delete it"
        )


def claim(workdir: Path, plan: Plan) -> None:
    """Makes a directory this sweep's. To be called under the directory's lock.

    Raises:
        UserError: as `look`, since when another sweep may have begun there.
        OSError: the place cannot be written.
    """
    look(workdir, plan)
    remove_leftovers(workdir)
    write_json(workdir / "sweep.json", plan.as_json())


def read_plan(workdir: Path) -> Plan:
    """The plan of the sweep that a directory holds.

    Raises:
        UserError: there is no sweep, or its sweep.json is broken.
    """
    path = workdir / "sweep.json"
    record = read_json(path)
    try:
        experiment = from_json(record["experiment"], PART_TYPES)
        axes = {
            name: Span(**axis) if isinstance(axis, Mapping) else axis
            for name, axis in record["axes"].items()
        }
        found = Search(
            as_axes(experiment, axes),
            record["search"],
            record["trials"],
            record["search_seed"],
            experiment.loss.score.larger_is_better,
        )
        return Plan(experiment, found, tuple(record["seeds"]), record.get("pruner", "none"))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path} is damaged: {error!r}") from None


def _visible(directory: Path) -> list[Path]:
    """Files that no sweep has left that was killed while it began."""
    return [
        path
        for path in directory.iterdir()
        if path.name != NAME and not fnmatch.fnmatch(path.name, ".sweep.json.*.tmp")
    ]


def _axis(axis: Axis) -> Any:
    if isinstance(axis, Span):
        return dataclasses.asdict(axis)
    return [list(value) if isinstance(value, tuple) else value for value in axis.values]
