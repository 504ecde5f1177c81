"""Bundles of trials as tasks of a Ray cluster; what a node takes with it is done again."""

import functools
import ipaddress
import math
import os
import socket
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from jaxcv import runtime
from jaxcv.errors import UserError
from jaxcv.exits import VerificationFailed
from jaxcv.experiment import Experiment
from jaxcv.extras import require
from jaxcv.sweeps.executors import Ended
from jaxcv.sweeps.lanes import Stopped
from jaxcv.sweeps.records import Finished
from jaxcv.sweeps.trainer import LaneMode, Trainer
from jaxcv.sweeps.trials import Trial, bundles

# A node may die under a task, and so may the next one.
_RETRIES = 10
_SECONDS = 0.2
# Ray's servers speak gRPC, which is HTTP/2: each side begins with a frame of settings (RFC 9113,
# sections 3.4 and 6.5). A frame's head is 9 bytes, the fourth of them its type.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_HEAD, _SETTINGS = 9, 4
_ANSWER_SECONDS = 5.0
_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


class Ray:
    """Trains on a Ray cluster; a bundle takes a GPU or a TPU where there are some, or a processor.

    On processors it computes with one thread where the trials of a round are as many: that does
    more than trial after trial on all of them. Where they are fewer each has its share. The number
    is the same on each node: how XLA:CPU adds up some products depends on it.

    Args:
        address: of the cluster, HOST:PORT; None starts one on this machine, which listens on
            loopback alone. A driver that is connected already stays so; any other connects when
            there is something to train.
        mode: how lanes advance.
        lanes: trials of a bundle, at most; fewer where there are more workers than bundles.
        verify: before the first training on a worker's backend, let it prove itself.
    """

    def __init__(self, address: str | None, mode: LaneMode, lanes: int, verify: bool = True):
        self._address = address
        self._mode: LaneMode = mode
        self._lanes = lanes
        self._verify = verify

    def connected(self) -> Any:
        """Ray, with this process as a driver.

        Raises:
            UserError: Ray is not installed, or nothing answers at the address.
        """
        if self._address is None:
            # Read when Ray is imported: a Ray that is not to be a cluster listens on loopback.
            os.environ.setdefault(_LOOPBACK, "0")
        ray = require("ray", "ray")
        if not ray.is_initialized():
            _connect(ray, self._address)
        return ray

    def check(self, experiments: Sequence[Experiment]) -> None:
        """Asks a worker: the data lie where it is."""
        ray = self.connected()
        task = ray.remote(max_retries=_RETRIES, **_on_processors(1))(_check)
        _result(ray, task.remote(self._mode, self._lanes, self._verify, list(experiments)))

    def run(
        self,
        trials: Sequence[Trial],
        finished: Mapping[int, Finished],
        signalled: Callable[[], int],
    ) -> Iterator[Ended]:
        """Trains all bundles at once, as far as the cluster has room."""
        # Whatever is left of the round: the same program then, with the same bits.
        everything, width = len(trials), min(self._lanes, len(trials))
        trials = [trial for trial in trials if trial.number not in finished]
        if not trials:
            return
        ray = self.connected()
        resources = ray.cluster_resources()
        kind = next((kind for kind in ("GPU", "TPU") if resources.get(kind)), "CPU")
        workers = max(1, int(resources.get(kind, 1)))
        lanes = max(1, min(width, math.ceil(len(trials) / workers)))
        wanted: dict[str, Any] = {"num_cpus": 1}
        if kind == "GPU":
            wanted["num_gpus"] = 1
        elif kind == "TPU":
            wanted["resources"] = {"TPU": 1}
        else:
            wanted = _on_processors(_share(ray.nodes(), everything))
        task = ray.remote(max_retries=_RETRIES, **wanted)(_train)
        pending = [
            task.remote(self._mode, width, self._verify, bundle)
            for bundle in bundles(trials, lanes)
        ]
        try:
            while pending:
                done, pending = ray.wait(pending, timeout=_SECONDS)
                for reference in done:
                    yield from _result(ray, reference)
                if signalled():
                    raise Stopped
        finally:
            for reference in pending:
                ray.cancel(reference, force=True)


def _on_processors(threads: int) -> dict[str, Any]:
    """What a task asks for that computes with so many threads.

    XLA would start a thread for each processor of the node, and so would every other task there.
    Of Ray it wants no more than one processor, so that it never waits for a whole node to be free;
    it is spread out instead. A number that the user has chosen stays.
    """
    chosen = os.environ.get(runtime.THREADS, str(threads))
    variables = {runtime.THREADS: chosen}
    return {
        "num_cpus": 1,
        "scheduling_strategy": "SPREAD",
        "runtime_env": {"env_vars": variables},
    }


def _share(nodes: Sequence[Mapping[str, Any]], trials: int) -> int:
    """Threads of each trial, so many that all nodes together have room for all; at least one."""
    processors = [int(node["Resources"].get("CPU", 0)) for node in nodes if node["Alive"]]
    wide = range(1, max(processors, default=0) + 1)
    fits = (n for n in wide if sum(count // n for count in processors) >= trials)
    return max(fits, default=1)


def _connect(ray: Any, address: str | None) -> None:
    if address is None:
        with warnings.catch_warnings():
            # JAX warns of every fork; Ray's children become its servers at once.
            warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
            # "local": whatever RAY_ADDRESS says, and whatever cluster this machine is a node of.
            ray.init("local", include_dashboard=False, log_to_driver=False, logging_level="error")
        found = ray.util.get_node_ip_address()
        if not ipaddress.ip_address(found).is_loopback:
            ray.shutdown()
            raise UserError(
                f"Ray would listen on {found}; set {_LOOPBACK}=0 before Ray is imported, or start "
                "a cluster and name its --address"
            )
        return
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        raise UserError(f"--address must be HOST:PORT, not {address!r}")
    try:
        _ask(host.strip("[]"), int(port))
        ray.init(address=address, log_to_driver=False, logging_level="error")
    except (OSError, OverflowError, ConnectionError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:120]
        raise UserError(f"--address {address}: no Ray cluster answers there ({reason})") from None


def _ask(host: str, port: int) -> None:
    """Looks whether a server like Ray's is there: Ray itself would wait for one without end.

    Raises:
        OSError: nothing answers in time, or something else than HTTP/2.
    """
    until = time.monotonic() + _ANSWER_SECONDS
    with socket.create_connection((host, port), timeout=_ANSWER_SECONDS) as connection:
        if os.environ.get("RAY_USE_TLS", "0") == "1":
            return
        connection.sendall(_PREFACE)
        head = b""
        while len(head) < _HEAD:
            connection.settimeout(max(0.01, until - time.monotonic()))
            more = connection.recv(_HEAD - len(head))
            if not more:
                raise ConnectionError("it hangs up")
            head += more
    if head[3] != _SETTINGS:
        raise ConnectionError("what answers is no server of Ray's")


@functools.cache
def _trainer(mode: LaneMode, lanes: int, verify: bool) -> Trainer:
    """A worker's own, for all the bundles that it gets."""
    runtime.set_up()
    return Trainer(mode, lanes, verify)


def _train(mode: LaneMode, lanes: int, verify: bool, bundle: list[Trial]) -> list[Ended]:
    """The task: everything that a bundle leaves, on the host."""
    return list(_trainer(mode, lanes, verify).train(bundle))


def _check(mode: LaneMode, lanes: int, verify: bool, experiments: list[Experiment]) -> None:
    """The task that looks whether experiments fit their data."""
    _trainer(mode, lanes, verify).check(experiments)


def _result(ray: Any, reference: Any) -> Any:
    """What a task has given, its errors as if they had been raised here."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError | VerificationFailed):
            raise type(error.cause)(str(error.cause)) from None
        raise
    except ray.exceptions.RayError as error:
        raise UserError(
            f"the cluster has lost a bundle {_RETRIES + 1} times: "
            f"{' '.join(str(error).split())[:120]}; the same command goes on"
        ) from None
