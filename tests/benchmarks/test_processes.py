import json
import os
import sys
from pathlib import Path

import pytest

from jaxcv.benchmarks import command, environments
from jaxcv.benchmarks.contestants import Contestant
from jaxcv.benchmarks.processes import Process, ended
from jaxcv.errors import UserError

WORKER = """
import json, os, sys
task = json.loads(sys.argv[1])
print(json.dumps({"task": task, "variables": dict(os.environ)}), flush=True)
for line in sys.stdin:
    if line.strip() == "die":
        sys.exit("no such command")
    print(json.dumps({"seconds": len(line.strip())}), flush=True)
"""


@pytest.fixture
def worker(tmp_path: Path) -> Contestant:
    path = tmp_path / "worker.py"
    path.write_text(WORKER)
    return Contestant("peer", "its own", str(path), variables=(("MODE", "fast"),))


def start(contestant: Contestant, tmp_path: Path) -> Process:
    log = tmp_path / "logs" / "peer.txt"
    python = Path(sys.executable)
    return Process(contestant, python, {"network": "cnn"}, tmp_path / "cache", log)


def test_a_worker_is_told_one_thing_at_a_time(worker, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    processes = {"peer": start(worker, tmp_path)}
    with ended(processes):
        facts = processes["peer"].facts
        assert facts["task"] == {"network": "cnn", "precision": "float32", "options": {}}
        assert facts["variables"]["MODE"] == "fast"
        assert facts["variables"]["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path / "cache")
        assert "PYTHONPATH" not in facts["variables"]
        assert processes["peer"].run("epoch") == 5
        assert processes["peer"].run("step") == 4
    with pytest.raises(OSError, match="No such process"):
        os.kill(processes["peer"].pid, 0)


def test_a_worker_that_ends_is_one_line(worker, tmp_path):
    processes = {"peer": start(worker, tmp_path)}
    with ended(processes), pytest.raises(UserError, match="peer has ended: no such command"):
        processes["peer"].run("die")


def test_an_environment_that_is_there_is_taken_as_it_is(tmp_path):
    python = tmp_path / "pytorch" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    assert environments.python_of("pytorch", tmp_path) == python
    assert environments.python_of("", tmp_path) == Path(sys.executable)


def test_an_environment_that_cannot_be_made_is_made_again_next_time(tmp_path, monkeypatch):
    def create(home: Path, **_) -> None:
        python = home / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text("#!/bin/sh\necho no such package >&2\nexit 1\n")
        python.chmod(0o755)

    monkeypatch.setattr(environments.venv, "create", create)
    with pytest.raises(UserError, match=r"cannot install torch==.*: no such package"):
        environments.python_of("pytorch", tmp_path)
    assert not (tmp_path / "pytorch" / "bin" / "python").exists()


@pytest.mark.parametrize("name", ["pytorch", "keras-tensorflow", "keras-jax"])
def test_what_pip_installs_has_versions(name):
    assert all("==" in requirement for requirement in environments.requirements(name))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--networks", "vgg"], "'vgg' is not among softmax"),
        (["--peers", "caffe"], "'caffe' is not among pytorch"),
        (["--rounds", "0"], "--rounds must be"),
        (["--networks", "cnn", "--images", "5"], "at least the batch size, 128"),
        (["--rouds", "2"], "--rouds"),
    ],
)
def test_a_mistake_is_one_line(arguments, message):
    with pytest.raises(UserError, match=message):
        command.run(arguments)


def test_the_machine_is_described():
    json.dumps(command.machine())
    assert command.machine()["cores"] == os.cpu_count()
