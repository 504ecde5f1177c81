"""How fast the lanes of a sweep train, all together, against one trial alone.

    python scripts/lanes.py                       # every network, in the mode that `auto` takes
    python scripts/lanes.py cnn --mode vmap --lanes 16

Images a second without compilation and evaluation, on random images of CIFAR-10's shape: one trial
alone, then as many lanes as asked for, in turn, round after round. The median of the rounds' ratios
is what a sweep gains or loses.
"""

import dataclasses
import statistics
import sys
from typing import Literal

import jax
import numpy as np
import tyro

from jaxcv import Adam, Experiment, runtime
from jaxcv.constraints import Count
from jaxcv.data.dataset import Dataset
from jaxcv.exits import exits
from jaxcv.flags import parse
from jaxcv.models.networks import NETWORKS, network
from jaxcv.programs import prepare
from jaxcv.sweeps.in_turn import in_turn
from jaxcv.sweeps.lanes import Outcome
from jaxcv.sweeps.together import together
from jaxcv.sweeps.trainer import chosen_mode

BATCH = 128


@dataclasses.dataclass(frozen=True)
class Flags:
    """What is measured.

    Attributes:
        names: networks, as `jaxcv inspect` knows them; default all
        mode: how lanes advance
        lanes: how many
        rounds: of one alone and all lanes, in turn
        steps: of a trial's epoch, of which there are two: the first warms up
    """

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    mode: Literal["auto", "map", "vmap"] = "auto"
    lanes: Count = 4
    rounds: Count = 5
    steps: Count = 8


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


def rate(outcomes: list[Outcome], share: float) -> float:
    """Images a second of all lanes in their second epoch, one after another or at once."""
    seconds = sum(outcome.lines[1]["seconds"] for outcome in outcomes) * share
    trained = sum(o.lines[1]["seconds"] * o.lines[1]["images_per_second"] for o in outcomes)
    return trained / seconds


def measure(name: str, flags: Flags) -> tuple[float, float]:
    """Images a second alone, and the median ratio of all lanes to it."""
    dataset = images(BATCH * flags.steps)
    base = Experiment(model=network(name), optimizer=Adam(1e-4), batch_size=BATCH, epochs=2)
    trials = [dataclasses.replace(base, seed=seed) for seed in range(flags.lanes)]
    program = prepare(base, dataset)
    at_once = chosen_mode(flags.mode) == "vmap"

    def lanes() -> list[Outcome]:
        if at_once:
            return list(together(program, dataset, trials, lambda: 0, flags.lanes))
        return list(in_turn(program, dataset, trials, lambda: 0))

    def alone() -> list[Outcome]:
        return list(in_turn(program, dataset, trials[:1], lambda: 0))

    alone()
    lanes()
    # Lanes at once share their seconds; one after another each has its own.
    pairs = [
        (rate(alone(), 1.0), rate(lanes(), 1 / flags.lanes if at_once else 1.0))
        for _ in range(flags.rounds)
    ]
    return statistics.median(one for one, _ in pairs), statistics.median(b / a for a, b in pairs)


def main() -> None:
    """Prints a line a network."""
    flags = parse(Flags, sys.argv[1:], "lanes.py", __doc__ or "")
    runtime.set_up()
    mode = chosen_mode(flags.mode)
    print(f"{flags.lanes} lanes, {mode}, on {jax.devices()[0].device_kind}, float32, batch {BATCH}")
    for name in flags.names or tuple(NETWORKS):
        alone, ratio = measure(name, flags)
        print(f"{name:<22} alone {alone:>9,.0f} images/s   lanes ÷ alone {ratio:.2f}", flush=True)


if __name__ == "__main__":
    with exits("lanes.py"):
        main()
