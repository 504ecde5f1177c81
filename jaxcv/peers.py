"""Several processes as one run: how they find each other, and how they end when one has died.

They are told of each other by the environment: JAX_COORDINATOR_ADDRESS (address:port of process
0), JAX_NUM_PROCESSES and JAX_PROCESS_ID; under Slurm or Open MPI the address alone is enough.
"""

import atexit
import contextlib
import functools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from jaxcv.errors import UserError
from jaxcv.liveness import Watch, among

_ADDRESS = "JAX_COORDINATOR_ADDRESS"
# Within which all must have come; jaxlib tries for twice as long.
_SECONDS = 60
# After which jaxlib counts a silent process as dead and aborts the others: later than
# `jaxcv.liveness` notices.
_HEARTBEAT = 600
# For the others to leave the coordination service after all have agreed to.
_LAST_SECONDS = 10.0
# Exit statuses from here on are those of signals.
_SIGNALLED = 128
_ENDED = "another process of this run has ended; start all of them again with --resume"

# The service by which processes find each other. JAX would run it in process 0 and, once that one
# has died, abort the others with a stack trace each. Here it outlives process 0 until the others
# have noticed by themselves.
_SERVICE = """
import os, sys, time
from jaxlib import _jax
address, processes = sys.argv[1], int(sys.argv[2])
service = _jax.get_distributed_runtime_service(
    address, processes, heartbeat_timeout=int(sys.argv[3])
)
print("ready", flush=True)
if not sys.stdin.read(1):
    time.sleep(30)
os._exit(0)
"""


def join() -> None:
    """Joins the processes that the environment names; alone where it names none.

    Raises:
        UserError: the environment's numbers make no sense, or the others are not to be reached.
    """
    import jax

    address = os.environ.get(_ADDRESS)
    if not address or jax.distributed.is_initialized():
        return
    process, processes = _number("JAX_PROCESS_ID"), _number("JAX_NUM_PROCESSES")
    port = re.fullmatch(r".+:(\d{1,5})", address)
    if port is None or not 0 < int(port[1]) < 1 << 16:
        raise UserError(
            f"{_ADDRESS} must be an address and a port up to 65535, such as 10.0.0.1:1234, "
            f"not {address}"
        )
    with _service_outside(address), _told_of_failure():
        try:
            # Only the address that is named: by default JAX listens on every one of the machine.
            jax.distributed.initialize(
                address,
                processes,
                process,
                initialization_timeout=_SECONDS,
                heartbeat_timeout_seconds=_HEARTBEAT,
                coordinator_bind_address=address,
            )
        except (RuntimeError, ValueError) as error:
            reason = "not all of them came" if "bad_cast" in str(error) else error
            raise UserError(
                f"the processes of {_ADDRESS}={address} do not find each other: {reason}; each "
                "needs JAX_NUM_PROCESSES, and JAX_PROCESS_ID from 0"
            ) from None
    try:
        _watch()
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"the processes of {_ADDRESS}={address} cannot connect to the first: {error}"
        ) from None
    # Before JAX does, which would not wait for the others.
    atexit.register(part)


def several() -> bool:
    """Whether this process is one of several of a run."""
    jax: Any = sys.modules.get("jax")
    return jax is not None and jax.distributed.is_initialized()


def require_alone(what: str) -> None:
    """Refuses what several processes cannot do together.

    Raises:
        UserError: the environment names others.
    """
    if os.environ.get(_ADDRESS):
        raise UserError(f"{what} is for one process: unset {_ADDRESS}")


def part() -> None:
    """Takes leave of the others, as soon as all do: what follows is each one's own."""
    import jax
    from jax._src import distributed

    if several():
        watch, state = _watch(), distributed.global_state
        service, state.service = state.service, None
        watch.part()
        jax.distributed.shutdown()
        if service is not None:
            # Whose client still listens to the service when it goes is aborted by jaxlib.
            watch.alone(_LAST_SECONDS)
            service.shutdown()
        watch.close()


def leave(status: int) -> None:
    """Ends one of several processes at once, so that the others notice.

    JAX would first wait for processes that do not come any more.
    """
    if several():
        if status >= _SIGNALLED:  # which all agree on
            _watch().part()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def loss(error: BaseException) -> UserError | None:
    """The line for an exception by which a process learns that another has ended."""
    text = str(error)
    lost = (
        "Gloo",
        "NCCL",
        "coordination service",
        "Connection closed",
        "Socket closed",
        "DEADLINE_EXCEEDED",
    )
    # JAX hands over what XLA says as one or the other, by where in a call it was noticed.
    found = isinstance(error, RuntimeError | ValueError) and any(word in text for word in lost)
    return UserError(_ENDED) if found and several() else None


@functools.cache
def _watch() -> Watch:
    """Connections of this process, made when JAX has told the processes of each other."""
    from jax._src import distributed

    state: Any = distributed.global_state
    host = os.environ[_ADDRESS].rpartition(":")[0].strip("[]")
    connections = among(
        host,
        state.process_id,
        state.num_processes,
        state.client.key_value_set,
        lambda key: state.client.blocking_key_value_get(key, 1000 * _SECONDS),
        _SECONDS,
    )
    return Watch(connections, _end)


def _end(status: Any = None) -> None:
    """What is called, in some thread, when the others are lost."""
    print(f"{os.path.basename(sys.argv[0])}: {_ENDED}", file=sys.stderr)
    leave(2)


def _number(name: str) -> int | None:
    value = os.environ.get(name)
    if value is not None and not value.isdecimal():
        raise UserError(f"{name} must be a whole number, not {value!r}")
    return None if value is None else int(value)


@contextlib.contextmanager
def _service_outside(address: str) -> Iterator[None]:
    """While inside, JAX's coordination service is made in a process of its own."""
    from jaxlib import _jax  # pyright: ignore[reportAttributeAccessIssue]

    inside = _jax.get_distributed_runtime_service

    def outside(bind: str, processes: int, **settings: Any) -> _Service:
        return _Service(bind, processes)

    _jax.get_distributed_runtime_service = outside
    try:
        yield
    finally:
        _jax.get_distributed_runtime_service = inside


@contextlib.contextmanager
def _told_of_failure() -> Iterator[None]:
    """While inside, a JAX client that is made has Python called when connecting fails.

    By default jaxlib aborts the process. The bindings of jaxlib 0.9 cannot hand their status to a
    Python function: the attempt raises RuntimeError (std::bad_cast) in the thread that connects,
    which serves as well.
    """
    from jaxlib import _jax  # pyright: ignore[reportAttributeAccessIssue]

    unwatched = _jax.get_distributed_runtime_client
    _jax.get_distributed_runtime_client = functools.partial(
        unwatched, missed_heartbeat_callback=_end
    )
    try:
        yield
    finally:
        _jax.get_distributed_runtime_client = unwatched


class _Service:
    """The coordination service in a process that ends some time after this one."""

    def __init__(self, address: str, processes: int):
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVICE, address, str(processes), str(_HEARTBEAT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # No signal of the terminal's: it has to outlive this process.
            start_new_session=True,
        )
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise RuntimeError(f"nothing can listen on {address}")

    def shutdown(self) -> None:
        """All have left: it may go at once."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.write(b".")
            self._process.stdin.close()
        self._process.wait()
