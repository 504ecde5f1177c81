"""How a process finds the others of its run, without any other process."""

import types

import jax
import pytest
from jax._src import distributed

from jaxcv import peers, script
from jaxcv.errors import UserError
from jaxcv.experiment import Experiment
from jaxcv.models import Softmax
from jaxcv.optimizers import SGD


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)


def named(monkeypatch: pytest.MonkeyPatch, address: str, process: str, processes: str) -> None:
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", address)
    monkeypatch.setenv("JAX_PROCESS_ID", process)
    monkeypatch.setenv("JAX_NUM_PROCESSES", processes)


def test_alone_where_the_environment_names_nobody(monkeypatch):
    monkeypatch.delenv("JAX_COORDINATOR_ADDRESS", raising=False)
    peers.join()
    assert not peers.several()
    peers.leave(9)  # nothing to leave: this process goes on


@pytest.mark.parametrize(
    ("address", "process", "processes", "said"),
    [
        ("127.0.0.1", "0", "2", "must be an address and a port"),
        ("127.0.0.1:65536", "0", "2", "a port up to 65535, .* not 127.0.0.1:65536"),
        (":0", "0", "2", "must be an address and a port"),
        ("127.0.0.1:1", "x", "2", "JAX_PROCESS_ID must be a whole number, not 'x'"),
        ("127.0.0.1:1", "0", "-2", "JAX_NUM_PROCESSES must be a whole number, not '-2'"),
    ],
)
def test_numbers_that_make_no_sense_are_one_line(monkeypatch, address, process, processes, said):
    named(monkeypatch, address, process, processes)
    with pytest.raises(UserError, match=said):
        peers.join()
    assert not peers.several()


def test_what_jaxlib_calls_is_as_it_was_after_a_failure(monkeypatch):
    from jaxlib import _jax  # pyright: ignore[reportAttributeAccessIssue]

    before = (_jax.get_distributed_runtime_client, _jax.get_distributed_runtime_service)
    seen = []

    def failing(*arguments, **settings):
        seen.append((_jax.get_distributed_runtime_client, _jax.get_distributed_runtime_service))
        raise RuntimeError("std::bad_cast")

    monkeypatch.setattr(jax.distributed, "initialize", failing)
    named(monkeypatch, "127.0.0.1:1", "1", "2")
    with pytest.raises(UserError, match=r"not all of them came; each needs JAX_NUM_PROCESSES"):
        peers.join()
    assert (_jax.get_distributed_runtime_client, _jax.get_distributed_runtime_service) == before
    assert all(now is not then for now, then in zip(seen[0], before, strict=True))


@pytest.mark.parametrize("process", [0, 1])
def test_the_first_process_alone_goes_on_to_what_follows_training(joined, monkeypatch, process):
    parted, followed = [], []
    watch = types.SimpleNamespace(
        part=lambda: parted.append("told"),
        alone=lambda seconds: parted.append("waited"),
        close=lambda: parted.append("gone"),
    )
    service = types.SimpleNamespace(shutdown=lambda: parted.append("ended"))
    monkeypatch.setattr(distributed.global_state, "service", None if process else service)
    monkeypatch.setattr(peers, "_watch", lambda: watch)
    monkeypatch.setattr(jax.distributed, "shutdown", lambda: parted.append("left"))
    monkeypatch.setattr(jax, "process_index", lambda: process)
    monkeypatch.setattr(script, "run", lambda experiment, flags: experiment.name)
    script.main(Experiment(model=Softmax(), optimizer=SGD(), name="it"), [], followed.append)
    # The service ends when nobody listens to it any more.
    assert parted == ["told", "left", *([] if process else ["waited", "ended"]), "gone"]
    assert followed == ([] if process else ["it"])


def test_what_several_processes_cannot_do_is_refused_at_once(monkeypatch):
    monkeypatch.delenv("JAX_COORDINATOR_ADDRESS", raising=False)
    peers.require_alone("a sweep")
    named(monkeypatch, "127.0.0.1:1", "0", "2")
    with pytest.raises(UserError, match=r"a sweep is for one process: unset JAX_COORDINATOR"):
        peers.require_alone("a sweep")


@pytest.mark.parametrize(
    "text",
    [
        "Gloo all-reduce failed",
        "NCCL error",
        "Connection closed by peer",
        "DEADLINE_EXCEEDED: GetKeyValue()",
    ],
)
def test_a_lost_process_is_one_line(joined, text):
    line = peers.loss(RuntimeError(text))
    assert isinstance(line, UserError)
    assert "--resume" in str(line)


def test_other_errors_are_no_loss(joined, monkeypatch):
    assert peers.loss(RuntimeError("INTERNAL: something else")) is None
    assert peers.loss(TypeError("Gloo")) is None
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: False)
    assert peers.loss(RuntimeError("Gloo all-reduce failed")) is None


def test_the_end_that_jax_tells_of_is_one_line(joined, monkeypatch, capsys):
    ended = []
    monkeypatch.setattr(peers, "os", types.SimpleNamespace(path=peers.os.path, _exit=ended.append))
    monkeypatch.setattr("sys.argv", ["somewhere/cnn.py"])
    peers._end(object())
    assert ended == [2]
    assert capsys.readouterr().err == f"cnn.py: {peers._ENDED}\n"
