"""kill -9 at any moment: started again, a run ends with the same parameters."""

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from tests.faults.processes import Run
from tests.faults.subjects import SUBJECTS

# 4 subjects × 5 cases × 5 kills are the hundred of `make deep`.
_CASES = [
    pytest.param("softmax", 0, 1),
    *(
        pytest.param(name, case, 5, marks=pytest.mark.deep if case > 1 else pytest.mark.faults)
        for case in range(1, 6)
        for name in SUBJECTS
    ),
]
SAVING = ("--resume", "--no-verify", "--checkpoint-minutes", "0.001")


def lines(workdir: Path) -> list[dict]:
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def what_counts(workdir: Path) -> list[dict]:
    timed = ("seconds", "images_per_second")
    return [{k: v for k, v in line.items() if k not in timed} for line in lines(workdir)]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory):
    """The uninterrupted run of each subject, with the seconds from its first checkpoint on."""
    runs: dict[str, tuple[Path, float]] = {}

    def of(name: str) -> tuple[Path, float]:
        if name not in runs:
            run = Run(name, tmp_path_factory.mktemp(name), SAVING)
            assert run.wait_for(lambda: bool(run.checkpoints())), run.errors()
            start = time.monotonic()
            assert run.wait() == 0, run.errors()
            runs[name] = run.workdir, time.monotonic() - start
        return runs[name]

    return of


@pytest.mark.parametrize(("name", "case", "kills"), _CASES)
def test_a_killed_run_ends_as_if_it_had_not_been(
    straight, tmp_path, record_property, name, case, kills
):
    expected, seconds = straight(name)
    rng = np.random.default_rng([case, *name.encode()])
    killed = after_a_checkpoint = resumable = 0
    while killed < kills:
        run = Run(name, tmp_path, SAVING)
        before = run.checkpoints()
        # Most fall into the training; the others also into the start, before any checkpoint.
        if rng.random() < 0.8:
            run.wait_for(lambda run=run, before=before: bool(run.checkpoints() - before))
            time.sleep(rng.uniform(0, seconds / kills))
        else:
            time.sleep(rng.uniform(0, 2))
        run.process.kill()
        if run.wait() == 0:  # it was over before: once more from the beginning
            assert_same(run.workdir, expected)
            shutil.rmtree(run.workdir)
            resumable = 0
        else:
            killed += 1
            after_a_checkpoint += bool(run.checkpoints())
            done = (run.workdir / "result.json").exists()
            resumable += bool(run.checkpoints()) and not done
    run = Run(name, tmp_path, SAVING)
    assert run.wait() == 0, run.errors()
    steps = assert_same(run.workdir, expected)
    record_property("kills", killed)
    record_property("after_a_checkpoint", after_a_checkpoint)
    record_property("resumed", len(steps))
    assert bool(steps) == bool(resumable)
    assert not list(tmp_path.rglob(".*"))


def assert_same(workdir: Path, expected: Path) -> list[int]:
    """A run has ended as the uninterrupted one; the steps that it was resumed from."""
    result, wanted = (json.loads((w / "result.json").read_text()) for w in (workdir, expected))
    for field in ("params_sha256", "best_epoch", "epochs", "val_accuracy", "test_accuracy"):
        assert result.get(field) == wanted.get(field), field
    assert what_counts(workdir) == what_counts(expected)
    steps = result["resumed_from_steps"]
    assert steps == sorted(steps)
    return steps
