"""How surely are 94 % reached? cifar10_94 with several seeds, one after another.

python experiments/cifar10_94_sweep.py --data cifar10 --seeds 5 [--version muon]

Every other flag is one of cifar10_94.py. Each run is one of that script's, with checkpoints of its
own, since half an hour is much to lose (a trial of `jaxcv sweep` would start again), in a directory
of its own in the workdir; one that is finished is not run again, one that was interrupted goes on.
Printed are mean and standard deviation over the seeds, with the views and without; the picture has
the training loss by epoch.
"""

import dataclasses
import runpy
import statistics
import sys
from pathlib import Path

from jaxcv.constraints import Count
from jaxcv.exits import exits
from jaxcv.experiment import Experiment
from jaxcv.flags import parse_experiment
from jaxcv.logs import read_metrics
from jaxcv.peers import require_alone
from jaxcv.plots import compared, save
from jaxcv.script import RunFlags, run, running_script


def shown(name: str, values: list[float], form: str = ".4f") -> str:
    """A line of mean, sample standard deviation and number."""
    deviation = f" ± {statistics.stdev(values):{form}}" if len(values) > 1 else ""
    return f"{name:<20} {statistics.mean(values):{form}}{deviation}  (n = {len(values)})"


def sweep(experiment: Experiment, flags, workdir: Path) -> None:
    records, metrics = [], {}
    for seed in range(experiment.seed, experiment.seed + flags.seeds):
        it = dataclasses.replace(experiment, seed=seed, name=f"{workdir.name}-{seed}")
        print(f"--- seed {seed}")
        here = workdir / f"seed{seed}"
        records.append(run(it, dataclasses.replace(flags, workdir=str(here), resume=True)).record)
        metrics[f"seed {seed}"] = read_metrics(here / "metrics.jsonl")
    # With --views plain there is one of them.
    for name in ("test_accuracy", "test_accuracy_plain"):
        if name in records[0]:
            print(shown(name, [record[name] for record in records]))
    print(shown("training_pflop", [record["training_pflop"] for record in records]))
    print(shown("seconds", [sum(m["seconds"] for m in lines) for lines in metrics.values()], ".0f"))
    picture = workdir / "cifar10_94_sweep.png"
    save(compared(metrics), picture)
    print(f"picture: {picture}")


def main() -> None:
    path, text = running_script()
    choice = runpy.run_path(str(path.with_name("cifar10_94.py")))["choice"]
    with exits(path.name):
        require_alone("a sweep")
        experiment, run_flags = choice.chosen(sys.argv[1:], RunFlags)
        flags = dataclasses.make_dataclass(
            "SweepFlags",
            [("seeds", Count, dataclasses.field(default=3))],
            bases=(run_flags,),
            frozen=True,
        )
        flags.__doc__ = f"{run_flags.__doc__}    seeds: how many runs, from --seed on\n"
        experiment, given = parse_experiment(experiment, sys.argv[1:], path.name, text, flags)
        sweep(experiment, given, Path(given.workdir or f"runs/{path.stem}"))


if __name__ == "__main__":
    main()
