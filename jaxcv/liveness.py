"""Noticing that another process has died: a connection that its system closes, whatever it did.

Collective operations notice it only where they read from the dead process itself. With several
devices each, one may wait without end for a neighbour in its own process that has given up.
"""

import atexit
import contextlib
import secrets
import socket
import threading
import time
from collections.abc import Callable, Sequence

_FAREWELL = b"."
_KEY = "jaxcv/liveness"
# For the program to notice by itself, which may tell more.
_GRACE = 5.0
# Within which who connects must say the token: long for a busy machine, short beside the time in
# which all must come, since they are heard one after another.
_TOKEN_SECONDS = 10.0
# A machine that vanishes closes nothing: after 30 s of silence it is asked, every 10 s, 6 times.
_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 6}


class Watch:
    """Connections to other processes, each with a thread that waits for its end.

    Args:
        connections: to the processes.
        lost: called, in a thread, when one has ended without a farewell.
    """

    def __init__(self, connections: Sequence[socket.socket], lost: Callable[[], None]):
        self._connections, self._lost = connections, lost
        self._parted = threading.Event()
        self._threads = [
            threading.Thread(target=self._wait, args=(connection,), daemon=True)
            for connection in connections
        ]
        for connection, thread in zip(connections, self._threads, strict=True):
            _keep_alive(connection)
            thread.start()
        atexit.register(self.part)

    def part(self) -> None:
        """Tells the others that this process ends as it should, and watches no longer."""
        if not self._parted.is_set():
            self._parted.set()
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.sendall(_FAREWELL)

    def close(self) -> None:
        """Lets the others see that this process is gone."""
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # close alone would not wake the thread
            connection.close()

    def alone(self, seconds: float) -> None:
        """Waits until the others are gone, at most so many seconds."""
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0))

    def _wait(self, connection: socket.socket) -> None:
        told = b""
        with contextlib.suppress(OSError):
            told = connection.recv(1)
            if told == _FAREWELL:
                connection.recv(1)  # returns when it is gone
        if told != _FAREWELL and not self._parted.wait(_GRACE):
            self._lost()


def among(
    host: str,
    process: int,
    processes: int,
    publish: Callable[[str, str], object],
    published: Callable[[str], str],
    seconds: float,
) -> list[socket.socket]:
    """The connections of a process: the first's to all others, another's to the first.

    Args:
        host: where the first listens.
        process: this one's number.
        processes: how many they are.
        publish: says a value under a key to all processes.
        published: what was said under a key, as soon as it is.
        seconds: within which all must come.

    Raises:
        OSError: they cannot be made.
    """
    deadline = time.monotonic() + seconds
    if process:
        port, _, token = published(_KEY).partition(" ")
        connection = socket.create_connection((host, int(port)), seconds)
        connection.sendall(token.encode())
        connection.settimeout(None)
        return [connection]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    token, found = secrets.token_hex(16).encode(), []
    with socket.create_server((host, 0), family=family, backlog=processes) as server:
        publish(_KEY, f"{server.getsockname()[1]} {token.decode()}")
        while len(found) < processes - 1:
            server.settimeout(max(deadline - time.monotonic(), 0.001))
            connection, _ = server.accept()
            connection.settimeout(_TOKEN_SECONDS)
            # Whoever else finds the port does not know the token.
            if _said(connection, len(token)) == token:
                connection.settimeout(None)
                found.append(connection)
            else:
                connection.close()
    return found


def _said(connection: socket.socket, length: int) -> bytes:
    said = b""
    with contextlib.suppress(OSError):
        while len(said) < length and (part := connection.recv(length - len(said))):
            said += part
    return said


def _keep_alive(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):  # not everywhere
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
