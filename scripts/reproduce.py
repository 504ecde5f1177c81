"""Runs the experiments on CIFAR-10 and fills the table of experiments/README.md.

    python scripts/reproduce.py                         # all but the longest, three seeds each
    python scripts/reproduce.py cnn resnet9 --seeds 5   # only these
    python scripts/reproduce.py --at-once 8             # eight at a time
    python scripts/reproduce.py --table                 # run nothing, write the table anew

A run that has its result is not repeated, one that was interrupted goes on where it stopped: start
the same command again. Each run's result.json is copied to experiments/results/, and the table is
made from those files alone. The runs themselves (checkpoints, reports) lie outside of the checkout.

On a CPU several runs at a time, each on its share of the cores, do more together than one after
another on all of them. What each says goes to a file beside its directory then.
"""

import contextlib
import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import platformdirs
import tyro
from experiments_table import NOTEBOOK, ROWS, write_table

from jaxcv import runtime
from jaxcv.constraints import Count, check
from jaxcv.errors import UserError
from jaxcv.exits import exits
from jaxcv.experiment import field_hints
from jaxcv.files import read_json, write_json
from jaxcv.flags import parse

CHECKOUT = Path(__file__).resolve().parents[1]
EXPERIMENTS = CHECKOUT / "experiments"
_SECONDS = 0.2
# Ends of a run that was told to end: by a closed terminal, Ctrl-C, SIGTERM.
_INTERRUPTED = (129, 130, 143)


@dataclasses.dataclass(frozen=True)
class Flags:
    """What is run.

    Attributes:
        names: experiments; default all but the longest.
        seeds: runs of each, seeds 0, 1, …
        at_once: runs at a time.
        data: on which the experiments run.
        data_dir: where the data lie.
        workdirs: where the runs go.
        table: run nothing, write the table from the results that are there.
    """

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    seeds: Count = 3
    at_once: Count = 1
    data: str = "cifar10"
    data_dir: str | None = None
    workdirs: str = platformdirs.user_data_dir("jaxcv") + "/reproduce"
    table: bool = False

    def __post_init__(self):
        for name in ("seeds", "at_once"):
            check(name, getattr(self, name), field_hints(Flags)[name])
        unknown = [name for name in self.names if name not in ROWS]
        if unknown:
            raise UserError(f"no experiment {unknown[0]!r}; there are {', '.join(ROWS)}")


@dataclasses.dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        name: of the experiment.
        seed: of the run.
        workdir: where it goes.
    """

    name: str
    seed: int
    workdir: Path

    @property
    def kept(self) -> str:
        """The file of its result."""
        return f"{self.name}_seed{self.seed}.json"

    @property
    def output(self) -> Path:
        """What it says when it is not alone."""
        return self.workdir.with_name(f"{self.workdir.name}.txt")


def command(run: Run, flags: Flags) -> list[str]:
    """The command line of one run."""
    place = ["--data-dir", flags.data_dir] if flags.data_dir else []
    seed = str(run.seed)
    # A thousand images are few: which of them are held out decides as much as the seed does.
    split = ["--data-seed", seed] if ROWS[run.name].flags == NOTEBOOK else []
    return [
        *(sys.executable, str(EXPERIMENTS / f"{run.name}.py"), "--data", flags.data, *place),
        *(*ROWS[run.name].flags, *split),
        *("--seed", seed, "--workdir", str(run.workdir), "--resume"),
    ]


def reproduce(flags: Flags, results: Path = EXPERIMENTS / "results") -> None:
    """Runs what has no result yet, in the order of seeds so that every row soon has a first one.

    Raises:
        UserError: a run has failed; its own message stands above, or in its file.
        SystemExit: a run was interrupted.
    """
    names = flags.names or [name for name, row in ROWS.items() if not row.long]
    workdirs = Path(flags.workdirs)
    runs = [
        Run(name, seed, workdirs / f"{name}_seed{seed}")
        for seed in range(flags.seeds)
        for name in names
    ]
    waiting = [run for run in runs if not (results / run.kept).exists()]
    with runtime.signals_noted() as signalled, _ended_with_this() as running:
        while waiting or running:
            if waiting and len(running) < flags.at_once and not signalled():
                run = waiting.pop(0)
                # The last ones have more room.
                share = runtime.threads() // min(flags.at_once, len(running) + len(waiting) + 1)
                running[_start(run, flags, max(1, share))] = run
                continue
            process = _first_to_end(running, signalled)
            run = running.pop(process)
            if process.returncode in _INTERRUPTED:
                raise SystemExit(process.returncode)
            if process.returncode:
                where = f": {run.output}" if flags.at_once > 1 else ""
                raise UserError(
                    f"{run.name} with seed {run.seed} ended with status {process.returncode}{where}"
                )
            results.mkdir(parents=True, exist_ok=True)
            write_json(results / run.kept, read_json(run.workdir / "result.json"))
            write_table(results, EXPERIMENTS / "README.md")


def _start(run: Run, flags: Flags, threads: int) -> "subprocess.Popen[Any]":
    """Starts a run; one of several with so many threads.

    Raises:
        UserError: nothing can be written where its output goes.
    """
    if flags.at_once == 1:
        print(f"{run.name}, seed {run.seed}: {run.workdir}", flush=True)
        return subprocess.Popen(command(run, flags))
    print(f"{run.name}, seed {run.seed}: {run.output}", flush=True)
    environment = {runtime.THREADS: str(threads)} | os.environ
    try:
        run.output.parent.mkdir(parents=True, exist_ok=True)
        with run.output.open("ab") as output:
            return subprocess.Popen(
                command(run, flags), stdout=output, stderr=subprocess.STDOUT, env=environment
            )
    except OSError as error:
        raise UserError(f"{run.output}: {error.strerror}") from None


def _first_to_end(
    running: "Mapping[subprocess.Popen[Any], Run]", signalled: Callable[[], int]
) -> "subprocess.Popen[Any]":
    """Waits for it.

    Raises:
        SystemExit: this program was told to end.
    """
    while not signalled():
        for process in running:
            if process.poll() is not None:
                return process
        time.sleep(_SECONDS)
    raise SystemExit(128 + signalled())


@contextlib.contextmanager
def _ended_with_this() -> "Iterator[dict[subprocess.Popen[Any], Run]]":
    """Takes runs that save their states and end when this program ends, whatever ends it.

    A second Ctrl-C ends them at once; what they saved before is whole.
    """
    running: dict[subprocess.Popen[Any], Run] = {}
    try:
        yield running
    finally:
        if any(process.poll() is None for process in running):
            print("the runs save their states (Ctrl-C: end them at once)", flush=True)
        for process in running:
            process.terminate()
        try:
            for process in running:
                process.wait()
        except KeyboardInterrupt:
            for process in running:
                process.kill()
                process.wait()
            raise


def main() -> None:
    with exits("reproduce.py"):
        flags = parse(Flags, sys.argv[1:], "reproduce.py", __doc__ or "")
        if not flags.table:
            reproduce(flags)
        write_table(EXPERIMENTS / "results", EXPERIMENTS / "README.md")
        print(EXPERIMENTS / "README.md")


if __name__ == "__main__":
    main()
