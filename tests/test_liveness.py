"""A dead process is noticed, a departed one is not missed, and a stranger is nobody."""

import socket
import threading
import time

import pytest

from jaxcv import liveness
from jaxcv.liveness import Watch, among


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "_GRACE", 0.2)


@pytest.fixture
def pair():
    ours, theirs = socket.create_server(("127.0.0.1", 0)), socket.socket()
    theirs.connect(ours.getsockname())
    connection, _ = ours.accept()
    ours.close()
    yield connection, theirs
    connection.close()
    theirs.close()


def test_an_end_without_a_farewell_is_noticed(pair):
    connection, theirs = pair
    noticed = threading.Event()
    Watch([connection], noticed.set)
    assert not noticed.wait(0.1)
    theirs.close()
    assert noticed.wait(10)


def test_a_farewell_is_no_loss(pair):
    connection, theirs = pair
    noticed, other = threading.Event(), threading.Event()
    Watch([connection], noticed.set)
    leaving = Watch([theirs], other.set)
    leaving.part()
    theirs.close()
    assert not noticed.wait(0.5)
    assert not other.is_set()


def test_who_has_parted_misses_nobody(pair):
    connection, theirs = pair
    noticed = threading.Event()
    watch = Watch([connection], noticed.set)
    theirs.close()
    watch.part()
    assert not noticed.wait(0.5)


def test_the_last_waits_until_the_others_are_gone(pair):
    connection, theirs = pair
    watch, leaving = (Watch([end], pytest.fail) for end in (connection, theirs))
    waited = threading.Thread(target=watch.alone, args=(10,))
    watch.part()
    leaving.part()
    waited.start()
    waited.join(0.3)
    assert waited.is_alive()  # a farewell is not enough
    leaving.close()
    waited.join(5)
    assert not waited.is_alive()


def test_the_last_does_not_wait_for_ever(pair):
    watch = Watch([pair[0]], pytest.fail)
    start = time.monotonic()
    watch.alone(0.2)
    assert 0.2 <= time.monotonic() - start < 5
    watch.part()


def test_all_find_the_first_and_a_stranger_does_not():
    said: dict[str, str] = {}
    strangers: list[socket.socket] = []
    there = threading.Event()

    def publish(key: str, value: str) -> None:
        strangers.append(socket.create_connection(("127.0.0.1", int(value.split()[0]))))
        strangers[0].sendall(b"x" * 32)
        said[key] = value
        there.set()

    def published(key: str) -> str:
        assert there.wait(10)
        return said[key]

    found: dict[int, list[socket.socket]] = {}

    def connect(process: int) -> None:
        found[process] = among("127.0.0.1", process, 3, publish, published, 10)

    threads = [threading.Thread(target=connect, args=(process,)) for process in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert [len(found[process]) for process in range(3)] == [2, 1, 1]
    for process in (1, 2):
        found[process][0].sendall(bytes([process]))
    assert {connection.recv(1) for connection in found[0]} == {b"\1", b"\2"}
    for connections in (strangers, *found.values()):
        for connection in connections:
            connection.close()


def test_the_first_does_not_wait_for_ever():
    with pytest.raises(OSError, match="timed out"):
        among("127.0.0.1", 0, 2, lambda key, value: None, lambda key: "", 0.05)
