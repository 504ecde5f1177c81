"""The driver of a sweep is killed at random moments and started again."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import optuna
import pytest

from jaxcv.files import read_json

ROOT = Path(__file__).parents[2]
SWEEP = [
    "-m", "jaxcv", "sweep", str(ROOT / "experiments" / "softmax_adam.py"), "--epochs", "40",
    "--range", "learning_rate=log:1e-4..1e-1", "--search", "tpe", "--trials", "18", "--seeds", "2",
    "--no-verify", "--workdir",
]  # fmt: skip


def start(workdir: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, *SWEEP, workdir],
        stdout=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def bits(workdir: str) -> dict[int, str]:
    rows = read_json(Path(workdir) / "results.json")["trials"]
    assert len({row["trial"] for row in rows}) == len(rows)
    return {row["trial"]: row["params_sha256"] for row in rows}


@pytest.mark.every_script
@pytest.mark.parametrize("kills", [2, 20])
def test_a_killed_sweep_finishes_every_trial_once(kills):
    """At moments spread over the whole sweep, each start living a little longer than the last."""
    began = time.monotonic()
    assert start("whole").wait(timeout=600) == 0
    seconds = time.monotonic() - began
    rng, finished = np.random.default_rng(kills), {}
    for _ in range(kills):
        process = start("killed")
        # Training is spread over all starts: each has its share, beside what starting takes.
        time.sleep(rng.uniform(0.2, 0.5 + seconds * (0.5 + 1 / kills)))
        process.send_signal(signal.SIGKILL)
        process.wait()
        now = {p: p.stat().st_mtime_ns for p in Path("killed").glob("trials/*/result.json")}
        assert finished.items() <= now.items(), "a finished trial was trained again, or lost"
        finished = now
    assert start("killed").wait(timeout=600) == 0
    assert bits("killed") == bits("whole")
    url = f"sqlite:///{Path('killed').absolute()}/study.db"
    study = optuna.load_study(study_name="softmax_adam", storage=url)
    assert sorted(t.user_attrs["trial"] for t in study.get_trials()) == list(range(36))
