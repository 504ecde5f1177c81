"""What the tasks of a cluster ask for; tests/sweeps/test_ray.py has a cluster."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jaxcv import Adam, Experiment, models
from jaxcv.sweeps import ray_executor
from jaxcv.sweeps.ray_executor import Ray
from jaxcv.sweeps.records import Finished
from jaxcv.sweeps.trials import Trial
from jaxcv.workdirs import Workdir

TINY = Experiment(model=models.MLP((8,)), optimizer=Adam())


def trials(number: int) -> list[Trial]:
    return [Trial(n, {}, TINY) for n in range(number)]


class Cluster:
    """Stands for Ray: notes what tasks ask for, and says that they have ended."""

    def __init__(self, *nodes: dict[str, float], dead: tuple[dict[str, float], ...] = ()):
        self._nodes = [(node, True) for node in nodes] + [(node, False) for node in dead]
        self.asked: list[dict[str, Any]] = []
        self.bundles: list[Any] = []

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": alive, "Resources": node} for node, alive in self._nodes]

    def cluster_resources(self) -> dict[str, float]:
        alive = [node for node, up in self._nodes if up]
        return {k: sum(node.get(k, 0) for node in alive) for node in alive for k in node}

    def remote(self, max_retries: int, **asked: Any):
        self.asked.append(asked)
        return lambda function: SimpleNamespace(remote=self._task)

    def _task(self, *arguments: Any) -> list[Any]:
        self.bundles.append(arguments[-1])
        return []

    def wait(self, pending: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        return pending, []


def asked(monkeypatch: pytest.MonkeyPatch, cluster: Cluster, number: int, done: int = 0) -> Any:
    monkeypatch.setattr(ray_executor, "_result", lambda ray, reference: reference)
    executor = Ray(None, "auto", 4)
    monkeypatch.setattr(executor, "connected", lambda: cluster)
    workdir = Workdir(Path())
    finished = {one.number: Finished(one, workdir, {}) for one in trials(done)}
    assert list(executor.run(trials(number), finished, lambda: 0)) == []
    (found,) = cluster.asked
    return found


def threads(asked: dict[str, Any]) -> int:
    assert (asked["num_cpus"], asked["scheduling_strategy"]) == (1, "SPREAD")
    assert set(asked) == {"num_cpus", "scheduling_strategy", "runtime_env"}
    assert set(asked["runtime_env"]) == {"env_vars"}
    return int(asked["runtime_env"]["env_vars"]["PJRT_NPROC"])


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch):
    monkeypatch.delenv("PJRT_NPROC", raising=False)


@pytest.mark.parametrize(
    ("nodes", "number", "each"),
    [
        ((8, 8, 8), 100, 1),  # more trials than processors
        ((8, 8, 8), 24, 1),
        ((8, 8, 8), 12, 2),
        ((8, 8, 8), 5, 4),  # one more than would leave each node's half
        ((8, 8), 3, 4),
        ((4, 4, 4), 4, 2),
        ((8, 8, 8), 1, 8),  # no trial is on two nodes
        ((64, 2), 1, 64),  # nor does the smallest decide
        ((64, 2), 5, 12),
        ((0, 3), 1, 3),
        ((0,), 1, 1),  # a cluster that still grows
    ],
)
def test_trials_share_the_processors(monkeypatch, nodes, number, each):
    cluster = Cluster(*({"CPU": float(count)} for count in nodes), {"memory": 1.0})
    assert threads(asked(monkeypatch, cluster, number)) == each


def test_dead_nodes_do_not_count(monkeypatch):
    cluster = Cluster({"CPU": 4.0}, dead=({"CPU": 16.0},))
    assert threads(asked(monkeypatch, cluster, 1)) == 4


def test_threads_that_the_user_has_chosen_stay(monkeypatch):
    monkeypatch.setenv("PJRT_NPROC", "3")
    assert threads(asked(monkeypatch, Cluster({"CPU": 8.0}), 100)) == 3


def test_what_is_left_of_a_round_has_the_share_of_the_whole(monkeypatch):
    """A sweep that goes on computes what it would have."""
    cluster = Cluster({"CPU": 8.0})
    assert threads(asked(monkeypatch, cluster, 8, done=6)) == 1
    assert [len(bundle) for bundle in cluster.bundles] == [1, 1]


def test_accelerators_are_asked_for_by_the_piece(monkeypatch):
    gpus = Cluster({"CPU": 8.0, "GPU": 2.0})
    assert asked(monkeypatch, gpus, 3) == {"num_cpus": 1, "num_gpus": 1}
    tpus = Cluster({"CPU": 8.0, "TPU": 4.0})
    assert asked(monkeypatch, tpus, 3) == {"num_cpus": 1, "resources": {"TPU": 1}}
