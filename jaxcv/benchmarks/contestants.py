"""Who is measured: a worker's file, the environment it runs in, and how it is asked to run."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from jaxcv.benchmarks.networks import Network

# glibc then asks the kernel for huge pages in large allocations: fewer page faults.
HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


@dataclasses.dataclass(frozen=True)
class Contestant:
    """One way to train a network.

    Attributes:
        peer: what --peers calls it
        environment: the virtual environment, "" for the one that jaxcv runs in
        worker: the file in workers/
        mode: how, for peers that have several ways
        options: the worker's own settings
        variables: environment variables of the process
        precision: float32 or bfloat16
    """

    peer: str
    environment: str
    worker: str
    mode: str = ""
    options: tuple[tuple[str, Any], ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    precision: str = "float32"

    @property
    def name(self) -> str:
        """What tables call it."""
        extras = [self.mode] if self.mode else []
        extras += ["huge pages"] if "GLIBC_TUNABLES" in dict(self.variables) else []
        extras += [self.precision] if self.precision != "float32" else []
        return ", ".join([self.peer, *extras])


OURS = Contestant("jaxcv", "", "ours.py")
PEERS = ("pytorch", "keras-tensorflow", "keras-jax", "flax")

# Those whose best a network of ours is divided by; plain Flax is reported beside it.
RIVALS = ("pytorch", "keras-tensorflow", "keras-jax")


def _pytorch(network: Network) -> list[Contestant]:
    ways: list[tuple[str, tuple[tuple[str, Any], ...]]] = [("eager", ())]
    ordered = (("channels_last", True),) if network.convolutional else ()
    if ordered:
        ways.append(("channels_last", ordered))
    ways.append(("compile", (*ordered, ("compile", True))))
    # Compiled in the process itself: its compiler's children would outlive it.
    alone = (("TORCHINDUCTOR_COMPILE_THREADS", "1"),)
    return [Contestant("pytorch", "pytorch", "pytorch.py", way, to, alone) for way, to in ways]


def _keras(backend: str) -> Contestant:
    name = f"keras-{backend}"
    return Contestant(name, name, "keras_fit.py", variables=(("KERAS_BACKEND", backend),))


def contestants(network: Network, peers: Sequence[str], huge_pages: bool) -> list[Contestant]:
    """Everybody measured on a network: ours first, each again with huge pages where asked.

    Those in bfloat16 follow where the network has them: ours beside PyTorch's autocast.
    """
    peers = [peer for peer in peers if network.peers is None or peer in network.peers]
    found = [OURS]
    if "pytorch" in peers:
        found += _pytorch(network)
    found += [_keras(b) for b in ("tensorflow", "jax") if f"keras-{b}" in peers]
    found += [Contestant("flax", "", "plain_flax.py")] if "flax" in peers else []
    if network.bfloat16:
        found += [
            dataclasses.replace(contestant, precision="bfloat16")
            for contestant in found
            if contestant == OURS
            or (contestant.peer == "pytorch" and dict(contestant.options).get("channels_last"))
        ]
    if huge_pages:
        found += [
            dataclasses.replace(c, variables=(*c.variables, *HUGE_PAGES.items())) for c in found
        ]
    return found


def reference_of(contestant: Contestant) -> Contestant:
    """What a contestant is measured in turn with: ours as it runs by default, same precision."""
    return dataclasses.replace(OURS, precision=contestant.precision)
