"""Measures one network: every contestant in turn, round after round."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxcv.benchmarks.contestants import Contestant, reference_of
from jaxcv.benchmarks.networks import Network
from jaxcv.benchmarks.processes import Process, ended
from jaxcv.benchmarks.rounds import pair_ratios, turns
from jaxcv.benchmarks.workers import protocol

# Epochs that are not counted: what is compiled late, and chunks that are still growing.
_WARM_UP = 2

# Operations of what workers do when they are told `product`.
_PRODUCT_OPERATIONS = protocol.PRODUCTS * 2 * protocol.PRODUCT_SIZE**3


# Who multiplies matrices: the faster of the two is what the machine can do.
MULTIPLIERS = ("jaxcv", "pytorch, eager")


@dataclasses.dataclass
class Samples:
    """What one contestant reached, a value a round.

    Attributes:
        versions: of what it runs on
        compile_seconds: until the first epoch could run at its later speed
        epoch: images per second of whole epochs
        step: images per second of bare steps on one batch
        forward: images per second of forward passes on one batch
        products: operations per second of large matrix products, of those who can
        ratios: ours ÷ this one's epoch, each pair next to each other in time
    """

    versions: dict[str, str]
    compile_seconds: float
    epoch: list[float] = dataclasses.field(default_factory=list)
    step: list[float] = dataclasses.field(default_factory=list)
    forward: list[float] = dataclasses.field(default_factory=list)
    products: list[float] = dataclasses.field(default_factory=list)
    ratios: list[float] = dataclasses.field(default_factory=list)


def measure(
    network: Network,
    task: Mapping[str, Any],
    everybody: Sequence[Contestant],
    pythons: Mapping[str, Path],
    rounds: int,
    folder: Path,
    say: Callable[[str], None],
) -> dict[str, Samples]:
    """All figures of a network, by the contestant's name.

    Args:
        network: what is trained.
        task: what `workers.protocol.Task` reads.
        everybody: the contestants, ours among them in each precision.
        pythons: the interpreter of each environment.
        rounds: how often each is measured.
        folder: takes the logs and the compiled programs.
        say: is told what goes on.

    Raises:
        UserError: a worker has ended.
    """
    processes: dict[str, Process] = {}
    samples: dict[str, Samples] = {}
    passed = task["images_per_epoch"] * network.epochs
    first: dict[str, float] = {}
    with ended(processes):
        for i, contestant in enumerate(everybody):
            say(f"starting {contestant.name}")
            name = contestant.name
            log = folder / "logs" / f"{task['network']} {name}.txt"
            cache = folder / "compiled" / f"{task['network']}-{i}"
            python = pythons[contestant.environment]
            processes[name] = Process(contestant, python, task, cache, log)
            facts = processes[name].facts
            samples[name] = Samples(facts["versions"], facts.get("compile_seconds", 0.0))
            first[name] = processes[name].run("epoch")
            for _ in range(_WARM_UP - 1):
                processes[name].run("epoch")
            processes[name].run("step")
            processes[name].run("forward")
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            for command in ("epoch", "step", "forward"):
                work = passed if command == "epoch" else task["steps"] * network.batch_size
                for reference, order in orders(everybody, number):
                    rates = []
                    for name in order:
                        rates.append(work / processes[name].run(command))
                        getattr(samples[name], command).append(rates[-1])
                    if command == "epoch":
                        for name, ratio in pair_ratios(reference, order, rates).items():
                            samples[name].ratios.append(ratio)
            for name in filter(processes.__contains__, MULTIPLIERS):
                seconds = processes[name].run("product")
                samples[name].products.append(_PRODUCT_OPERATIONS / seconds)
    for name, sample in samples.items():
        usual = passed / max(sample.epoch)
        sample.compile_seconds += max(first[name] - usual, 0.0)
    return samples


def orders(everybody: Sequence[Contestant], number: int) -> list[tuple[str, list[str]]]:
    """The reference and the order of a round, for each precision apart."""
    found = []
    for reference in dict.fromkeys(reference_of(contestant) for contestant in everybody):
        others = [c.name for c in everybody if reference_of(c) == reference and c != reference]
        found.append((reference.name, turns(reference.name, others, number)))
    return found
