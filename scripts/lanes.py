"""How fast a sweep trains: all its lanes against one trial alone, or it against a script run often.

    python scripts/lanes.py                              # every network, in the mode of `auto`
    python scripts/lanes.py --only cnn resnet20 --mode vmap --lanes 16 --output lanes.json
    python scripts/lanes.py --against-scripts            # 16 autoencoders: one sweep, 16 runs

Lanes are measured without compilation on random images of CIFAR-10's shape: one trial alone and as
many lanes as asked for, in turn, each first in every other round, so that a machine that drifts
favours neither. Printed are medians over the rounds of what all lanes reach divided by what one
reaches: images a second while training, and trials a second with everything that a trial takes. An
accelerator is measured by the same command there.

Against scripts, whole commands are timed, after a short one of each that fills the compilation
cache: a sweep of sparse autoencoders, by full-batch Adam, over as many values of the weight decay
as trials, and the script once for each value.
"""

import dataclasses
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxcv import Adam, Experiment, SparseReconstruction, UserError, models, runtime
from jaxcv.constraints import Count, check
from jaxcv.data.dataset import Dataset
from jaxcv.exits import exits
from jaxcv.experiment import field_hints
from jaxcv.files import write_json
from jaxcv.flags import parse
from jaxcv.models.networks import NETWORKS, network
from jaxcv.programs import prepare
from jaxcv.results import device_name
from jaxcv.sweeps.in_turn import in_turn
from jaxcv.sweeps.lanes import Outcome
from jaxcv.sweeps.together import together
from jaxcv.sweeps.trainer import chosen_mode

BATCH = 128
NAMES = (*NETWORKS, "resnet20", "autoencoder")
SCRIPT = Path(__file__).parents[1] / "experiments" / "autoencoder.py"


@dataclasses.dataclass(frozen=True)
class Flags:
    """What is measured.

    Attributes:
        only: networks, as `jaxcv inspect` knows them, or autoencoder; default all
        mode: how lanes advance
        lanes: how many
        rounds: of one alone and all lanes, or of the sweep and the runs
        steps: of a trial's epoch, of which there are two: the first warms up
        against_scripts: time a sweep of autoencoders against the script run as often
        trials: of that sweep, each with another weight decay
        epochs: of each of its trials
        output: JSON file for what was measured
    """

    only: tuple[str, ...] = ()
    mode: Literal["auto", "map", "vmap"] = "auto"
    lanes: Count = 4
    rounds: Count = 5
    steps: Count = 8
    against_scripts: bool = False
    trials: Count = 16
    epochs: Count = 300
    output: str | None = None

    def __post_init__(self):
        for name in ("lanes", "rounds", "steps", "trials", "epochs"):
            check(name, getattr(self, name), field_hints(Flags)[name])
        if self.output is not None and not Path(self.output).parent.is_dir():
            raise UserError(f"--output {self.output}: there is no such directory")


class Speed(NamedTuple):
    """What a way of training reaches.

    Attributes:
        images: trained on a second, while training.
        trials: a second, with everything that a trial takes.
    """

    images: float
    trials: float


def in_turns(
    first: Callable[[], Any], second: Callable[[], Any], rounds: int
) -> list[tuple[Any, Any]]:
    """What two measurements give, in turn; the one that begins a round ends the next."""
    pairs = []
    for i in range(rounds):
        if i % 2:
            after = second()
            pairs.append((first(), after))
        else:
            pairs.append((first(), second()))
    return pairs


# --- lanes against one trial alone --------------------------------------------------------------


def experiment(name: str) -> Experiment:
    """A network by name, with an optimizer and a loss that fit it."""
    common: Mapping[str, Any] = {"optimizer": Adam(1e-4), "batch_size": BATCH, "epochs": 2}
    if name == "autoencoder":
        return Experiment(models.Autoencoder(hidden=64), loss=SparseReconstruction(), **common)
    return Experiment(network(name), **common)


def images(n: int) -> Dataset:
    """Random images, nearly all to train on."""
    rng = np.random.default_rng(0)
    return Dataset(
        name="random",
        images=rng.integers(0, 256, (n + 2, 32, 32, 3), dtype=np.uint8),
        labels=rng.integers(0, 10, n + 2).astype(np.int32),
        train=np.arange(n, dtype=np.int32),
        validation=np.empty(0, np.int32),
        test=np.arange(n, n + 2, dtype=np.int32),
        classes=tuple("0123456789"),
    )


def rate(outcomes: Sequence[Outcome], at_once: bool) -> float:
    """Images a second of all lanes in their second epoch."""
    seconds = [outcome.lines[1]["seconds"] for outcome in outcomes]
    trained = sum(o.lines[1]["seconds"] * o.lines[1]["images_per_second"] for o in outcomes)
    # Lanes at once share their seconds; one after another each has its own.
    return trained / (seconds[0] if at_once else sum(seconds))


def measure(name: str, flags: Flags) -> dict[str, Any]:
    """Medians and each round's ratios of a network."""
    dataset, base = images(BATCH * flags.steps), experiment(name)
    trials = [dataclasses.replace(base, seed=seed) for seed in range(flags.lanes)]
    program = prepare(base, dataset)
    at_once = chosen_mode(flags.mode) == "vmap"

    def timed(train: Callable[[], Sequence[Outcome]], at_once: bool) -> Speed:
        began = time.perf_counter()
        outcomes = train()
        return Speed(rate(outcomes, at_once), len(outcomes) / (time.perf_counter() - began))

    def alone() -> Speed:
        return timed(lambda: list(in_turn(program, dataset, trials[:1], lambda: 0)), False)

    def lanes() -> Speed:
        if at_once:
            width = flags.lanes
            return timed(
                lambda: list(together(program, dataset, trials, lambda: 0, width)), at_once
            )
        return timed(lambda: list(in_turn(program, dataset, trials, lambda: 0)), at_once)

    in_turns(alone, lanes, 1)
    pairs = in_turns(alone, lanes, flags.rounds)
    ratios = [all_lanes.images / one.images for one, all_lanes in pairs]
    whole = [all_lanes.trials / one.trials for one, all_lanes in pairs]
    return {
        "alone_images_per_second": statistics.median(one.images for one, _ in pairs),
        "images_ratio": statistics.median(ratios),
        "trials_ratio": statistics.median(whole),
        "images_ratios": ratios,
        "trials_ratios": whole,
    }


def measure_lanes(flags: Flags) -> dict[str, Any]:
    """Prints a line a network."""
    runtime.set_up()
    mode, device = chosen_mode(flags.mode), device_name()
    print(f"{flags.lanes} lanes, {mode}, on {device}, float32, batch {BATCH}")
    networks = {}
    for name in flags.only or NAMES:
        networks[name] = found = measure(name, flags)
        print(
            f"{name:<22} alone {found['alone_images_per_second']:>9,.0f} images/s   lanes ÷ alone: "
            f"images/s {found['images_ratio']:.2f}, whole trials {found['trials_ratio']:.2f}",
            flush=True,
        )
    return {"mode": mode, "device": device, "lanes": flags.lanes, "networks": networks}


# --- a sweep against runs of the script ---------------------------------------------------------


def seconds_of(*arguments: str) -> float:
    """Wall time of a Python command.

    Raises:
        UserError: it fails.
    """
    began = time.perf_counter()
    paths = os.pathsep.join(filter(None, (str(SCRIPT.parents[1]), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UserError(f"{' '.join(arguments)} failed: {done.stderr[-300:]}")
    return time.perf_counter() - began


def measure_against_scripts(flags: Flags) -> dict[str, Any]:
    """Prints the wall times of each round, and the median of their ratios."""
    # An epoch is then a step on all patches; an iteration of L-BFGS may take several passes.
    solver = ("--solver", "adam")
    decays = [f"{decay:.3g}" for decay in np.logspace(-5, -2, flags.trials)]
    with tempfile.TemporaryDirectory(prefix="jaxcv-lanes-") as directory:
        places = (f"{directory}/{i}" for i in range(10**6))

        def sweep(epochs: int = flags.epochs) -> float:
            return seconds_of(
                "-m", "jaxcv", "sweep", str(SCRIPT), "--set", f"decay={','.join(decays)}",
                "--lane-mode", flags.mode, *solver, "--epochs", str(epochs),
                "--workdir", next(places),
            )  # fmt: skip

        def run(decay: str, epochs: int) -> float:
            return seconds_of(
                str(SCRIPT), "--decay", decay, *solver, "--epochs", str(epochs),
                "--workdir", next(places),
            )  # fmt: skip

        def runs() -> float:
            return sum(run(decay, flags.epochs) for decay in decays)

        # Another number of epochs is no other program.
        run(decays[0], 2)
        sweep(2)
        pairs = in_turns(sweep, runs, flags.rounds)
    for swept, scripts in pairs:
        print(f"sweep {swept:.1f} s   {flags.trials} runs {scripts:.1f} s   {swept / scripts:.3f}")
    ratio = statistics.median(swept / scripts for swept, scripts in pairs)
    print(f"sweep ÷ runs {ratio:.3f} ({flags.trials} trials of {flags.epochs} epochs)")
    return {
        "trials": flags.trials,
        "epochs": flags.epochs,
        "sweep_seconds": [swept for swept, _ in pairs],
        "runs_seconds": [scripts for _, scripts in pairs],
        "ratio": ratio,
    }


def main() -> None:
    """Measures what the flags say."""
    flags = parse(Flags, sys.argv[1:], "lanes.py", __doc__ or "")
    for name in flags.only:
        if name != "autoencoder":
            network(name)
    found = measure_against_scripts(flags) if flags.against_scripts else measure_lanes(flags)
    if flags.output is not None:
        write_json(Path(flags.output), found)


if __name__ == "__main__":
    with exits("lanes.py"):
        main()
