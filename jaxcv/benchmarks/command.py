"""`jaxcv bench`: what it takes, what it leaves."""

import dataclasses
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from jaxcv.benchmarks import startup
from jaxcv.benchmarks.contestants import PEERS, contestants
from jaxcv.benchmarks.environments import python_of
from jaxcv.benchmarks.measuring import measure
from jaxcv.benchmarks.networks import NETWORKS, Network
from jaxcv.benchmarks.summary import markdown, summarize
from jaxcv.constraints import Count, Index, check
from jaxcv.errors import UserError
from jaxcv.experiment import settings
from jaxcv.flags import parse

DESCRIPTION = """How fast training is on this machine, beside Keras, PyTorch and plain Flax.

Everybody trains the same network on the same bytes, in an own virtual environment and process, in
turn and pairwise. The peers' environments are made from PyPI where they are missing. It leaves
results.json, results.md and the workers' logs."""


@dataclasses.dataclass(frozen=True)
class Flags:
    """What is measured.

    Attributes:
        networks: which of the networks, none for none
        peers: which of the others, none for ours alone
        rounds: measurements of each
        images: images an epoch; default: by network, so that an epoch lasts about a second
        steps: bare steps and forward passes a measurement; default: as many as an epoch has
        huge_pages: measure everybody again with huge pages
        data: where the images come from, as experiments take it; default: random bytes
        data_dir: where the data lie
        startup: measure start-up as well, in so many rounds
        startup_deep: rounds of starting ResNet-56, without and with its programs in the cache
        output: directory of what it leaves
        environments: directory of the peers' virtual environments; default: envs in the output's
    """

    networks: tuple[str, ...] = tuple(NETWORKS)
    peers: tuple[str, ...] = PEERS
    rounds: Count = 10
    images: Count | None = None
    steps: Count | None = None
    huge_pages: bool = True
    data: str | None = None
    data_dir: str | None = None
    startup: Index = 0
    startup_deep: Index = 0
    output: str = "runs/bench"
    environments: str | None = None

    def __post_init__(self):
        """Refuses values out of range."""
        for name, value, hint in settings(self):
            check(name, value, hint)


def run(arguments: Sequence[str], prog: str = "jaxcv bench") -> None:
    """Measures what the arguments say, and writes it down after each network.

    Raises:
        UserError: an unknown name, no data, an environment that cannot be made, or a worker that
            has ended.
    """
    flags = parse(Flags, arguments, prog, DESCRIPTION)
    _check(flags)
    output = Path(flags.output)
    environments = Path(flags.environments) if flags.environments else output / "envs"
    results = {"machine": machine(), "rounds": flags.rounds, "networks": {}, "startup": None}
    if flags.startup or flags.startup_deep:
        results["startup"] = startup.measure(flags.startup, flags.startup_deep, _say)
        _write(output, results)
    with tempfile.TemporaryDirectory() as scratch:
        for name in flags.networks:
            network = NETWORKS[name]
            task = _task(name, network, flags, Path(scratch))
            everybody = contestants(network, flags.peers, flags.huge_pages)
            pythons = {e: python_of(e, environments) for e in {c.environment for c in everybody}}
            folder = Path(scratch) / name
            load = os.getloadavg()[0]  # of others: the bench itself rests now
            try:
                samples = measure(
                    network,
                    task,
                    everybody,
                    pythons,
                    flags.rounds,
                    folder,
                    lambda text, name=name: _say(f"{name}: {text}"),
                )
            finally:
                if (folder / "logs").is_dir():
                    shutil.copytree(folder / "logs", output / "logs", dirs_exist_ok=True)
            results["networks"][name] = summarize(network, samples) | {"load": load}
            _write(output, results)
    print(markdown(results))
    print(f"results: {output / 'results.json'}, {output / 'results.md'}")


def _check(flags: Flags) -> None:
    for given, known in ((flags.networks, tuple(NETWORKS)), (flags.peers, PEERS)):
        for name in given:
            if name not in known:
                raise UserError(f"{name!r} is not among {', '.join(known)}")


def _task(name: str, network: Network, flags: Flags, scratch: Path) -> dict[str, Any]:
    """Writes the images where every worker can read them; what the workers are told."""
    # The autoencoder's full batch is its epoch.
    wanted = flags.images if network.classifies else network.images
    number = (wanted or network.images) // network.batch_size * network.batch_size
    if number == 0:
        raise UserError(f"--images must be at least the batch size, {network.batch_size}")
    images, labels = _data(network, flags, number)
    places = {"images": scratch / f"{name}-images.npy", "labels": scratch / f"{name}-labels.npy"}
    np.save(places["images"], images)
    np.save(places["labels"], labels)
    return {
        **{key: str(path) for key, path in places.items()},
        "network": name,
        "batch_size": network.batch_size,
        "epochs": network.epochs,
        "images_per_epoch": number,
        "steps": flags.steps or number // network.batch_size * network.epochs,
        "learning_rate": network.learning_rate,
    }


def _data(network: Network, flags: Flags, number: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    if not network.classifies:
        images = rng.uniform(0.1, 0.9, (number, *network.image_shape)).astype(np.float32)
        return images, np.zeros(number, np.int32)
    if flags.data is None:
        images = rng.integers(0, 256, (number, *network.image_shape), dtype=np.uint8)
        return images, rng.integers(0, 10, number, dtype=np.int32)
    from jaxcv.data import load

    dataset = load(flags.data, flags.data_dir, validation=0)
    if dataset.image_shape != network.image_shape or dataset.num_classes != 10:
        raise UserError(f"--data {flags.data}: the bench needs 32×32×3 images of ten classes")
    if len(dataset.train) < number:
        raise UserError(f"--images {number} is more than {flags.data} has: {len(dataset.train)}")
    chosen = dataset.train[:number]
    return dataset.images[chosen], dataset.labels[chosen]


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    pages = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "jaxcv": version("jaxcv"),
        "jax": version("jax"),
        "transparent_hugepages": pages.read_text().strip() if pages.exists() else None,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _write(output: Path, results: dict[str, Any]) -> None:
    output.mkdir(parents=True, exist_ok=True)
    (output / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (output / "results.md").write_text(markdown(results), encoding="utf-8")


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
