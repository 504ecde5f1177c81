"""A long run needs no more memory and no more files at its end than at its beginning."""

import os
import resource
from pathlib import Path

import pytest

from tests.faults.processes import Run

EPOCHS, WARM = 300, 20


@pytest.mark.deep
def test_memory_and_open_files_stay_as_they_are(tmp_path, record_property):
    run = Run("softmax", tmp_path, ["--no-verify", "--epochs", str(EPOCHS)])
    process = Path(f"/proc/{run.process.pid}")
    metrics = run.workdir / "metrics.jsonl"
    memory: dict[int, float] = {}
    files: dict[int, int] = {}

    def looked_at() -> bool:
        if metrics.exists():
            epoch = metrics.read_bytes().count(b"\n")
            pages = int((process / "statm").read_text().split()[1])
            memory[epoch] = pages * resource.getpagesize() / 2**20
            files[epoch] = len(os.listdir(process / "fd"))
        return EPOCHS - 1 in memory

    run.wait_for(looked_at, 1200)
    assert run.wait() == 0, run.errors()
    # A checkpoint in the making has its copy of the state, and its file.
    early = [epoch for epoch in memory if WARM <= epoch < 2 * WARM]
    late = [epoch for epoch in memory if EPOCHS - WARM <= epoch < EPOCHS]
    assert early
    assert late
    record_property("megabytes", [memory[min(early)], max(memory.values())])
    record_property("files", [files[min(early)], files[max(late)]])
    first = max(memory[epoch] for epoch in early)
    assert max(value for epoch, value in memory.items() if epoch >= 2 * WARM) <= 1.05 * first
    assert max(files[epoch] for epoch in late) <= max(files[epoch] for epoch in early)
