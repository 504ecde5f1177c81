"""Sweeps on a Ray cluster: what a dead node takes with it is done again, with the same bits."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from jaxcv import Adam, Experiment, UserError, models
from jaxcv.sweeps import ray_executor
from jaxcv.sweeps.ray_executor import Ray
from jaxcv.sweeps.sweep import sweep

pytestmark = [
    pytest.mark.ray,
    # Ray's own sockets and processes are left to be collected.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
TINY = Experiment(model=models.MLP((8,)), optimizer=Adam(), name="tiny", epochs=20)
AXES = {"learning_rate": [1e-4, 1e-3, 3e-3, 1e-2]}


@pytest.fixture
def cluster():
    """A head that computes nothing and two nodes of one processor each."""
    ray = pytest.importorskip("ray")
    cluster = pytest.importorskip("ray.cluster_utils").Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0}, connect=False
    )
    cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def test_a_node_dies_and_nothing_is_lost(cluster, tmp_path):
    doomed = cluster.add_node(num_cpus=1)

    def kill():
        until = time.monotonic() + 300
        while time.monotonic() < until:
            if len(list((tmp_path / "ray" / "trials").glob("*/result.json"))) >= 2:
                cluster.remove_node(doomed, allow_graceful=False)
                return
            time.sleep(0.1)

    killer = threading.Thread(target=kill)
    killer.start()
    executor = Ray(None, "auto", 2, verify=False)
    found = sweep(TINY, AXES, tmp_path / "ray", seeds=3, verify=False, executor=executor)
    killer.join()
    assert len([node for node in cluster.list_all_nodes() if node is not doomed]) == 2
    assert [one.trial.number for one in found.trials] == list(range(12))
    # Here, with as many threads as a task has.
    script = tmp_path / "tiny.py"
    script.write_text(
        "from jaxcv import Adam, Experiment, main, models\n"
        "experiment = Experiment(model=models.MLP((8,)), optimizer=Adam(), epochs=20)\n"
        "if __name__ == '__main__':\n"
        "    main(experiment)\n"
    )
    values = ",".join(map(str, AXES["learning_rate"]))
    subprocess.run(
        [
            *(sys.executable, "-m", "jaxcv", "sweep", str(script), "--seeds", "3", "--no-verify"),
            *("--set", f"learning_rate={values}", "--workdir", str(tmp_path / "local")),
        ],
        env=os.environ | {"PJRT_NPROC": "1"},
        check=True,
    )
    for one in found.trials:
        path = tmp_path / "local" / "trials" / one.workdir.path.name / "result.json"
        assert one.record["params_sha256"] == json.loads(path.read_text())["params_sha256"]


def test_what_a_worker_refuses_is_one_line(cluster, tmp_path):
    executor = Ray(None, "auto", 2, verify=False)
    elsewhere = Experiment(
        model=models.MLP((8,)), optimizer=Adam(), data="cifar10", data_dir=str(tmp_path / "none")
    )
    with pytest.raises(UserError, match="none"):
        sweep(elsewhere, AXES, tmp_path / "s", verify=False, executor=executor)


def test_a_cluster_of_ones_own_listens_on_loopback_alone():
    code = """
import psutil
from jaxcv.sweeps.ray_executor import Ray
before = {c.laddr for c in psutil.net_connections("tcp") if c.status == "LISTEN"}
ray = Ray(None, "auto", 1).connected()
ray.get(ray.remote(lambda: 1).remote())
new = {c.laddr for c in psutil.net_connections("tcp") if c.status == "LISTEN"} - before
assert len(new) > 3
print(sorted({address.ip for address in new}))
"""
    pytest.importorskip("psutil")
    # Another cluster, which is there no more, is none of its business.
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        env=os.environ | {"RAY_ADDRESS": "127.0.0.1:1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = set(eval(done.stdout.strip().splitlines()[-1], {"__builtins__": {}}))
    assert found <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def test_an_address_where_nobody_answers_is_one_line():
    pytest.importorskip("ray")
    for address in ("127.0.0.1:1", "nobody.invalid:6379", "127.0.0.1", "host:port", "::1"):
        with pytest.raises(UserError, match="--address") as caught:
            Ray(address, "auto", 1).connected()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_an_address_where_something_else_listens_is_one_line(answer, monkeypatch):
    """It takes connections and says nothing, or not what Ray would: no waiting without end."""
    pytest.importorskip("ray")
    monkeypatch.setattr(ray_executor, "_ANSWER_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            # The caller may hang up before it has read all.
            with connection, contextlib.suppress(ConnectionError):
                connection.sendall(answer)
                while connection.recv(1024):
                    pass

        threading.Thread(target=serve, daemon=True).start()
        began = time.monotonic()
        with pytest.raises(UserError, match="no Ray cluster answers there") as caught:
            Ray(f"127.0.0.1:{server.getsockname()[1]}", "auto", 1).connected()
        assert time.monotonic() - began < 10
    assert "\n" not in str(caught.value)
