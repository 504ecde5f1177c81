"""Several processes of one run: when one dies, or never comes, the others end with one line."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.processes import free_port

ROOT = Path(__file__).parents[2]
FLAGS = ["--no-verify", "--devices", "all", "--batch-size", "64", "--epochs", "100000"]


def start(address: str, process: int, processes: int, *flags: str) -> subprocess.Popen[str]:
    environment = os.environ | {
        "JAX_COORDINATOR_ADDRESS": address,
        "JAX_NUM_PROCESSES": str(processes),
        "JAX_PROCESS_ID": str(process),
        "JAX_NUM_CPU_DEVICES": "2",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(ROOT),
    }
    # Set by JAX in this process; it is jaxcv's own setting that keeps XLA quiet.
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    return subprocess.Popen(
        [
            sys.executable,
            str(ROOT / "experiments/softmax_sgd.py"),
            *FLAGS,
            "--workdir",
            "run",
            *flags,
        ],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def one_line(process: subprocess.Popen[str], seconds: float) -> str:
    """What a process says that ends with status 2 within so many seconds."""
    _, err = process.communicate(timeout=seconds)
    assert process.returncode == 2, err
    assert len(err.splitlines()) == 1, err
    return err


def listening(address: str) -> set[str]:
    """Addresses, as /proc/net/tcp writes them, on which the port of one is listened to."""
    port = f"{int(address.split(':')[1]):04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    rows += [line.split() for line in Path("/proc/net/tcp6").read_text().splitlines()[1:]]
    return {row[1].split(":")[0] for row in rows if row[3] == "0A" and row[1].endswith(":" + port)}


@pytest.mark.faults
@pytest.mark.parametrize("dying", [0, 1])
def test_a_process_that_dies_while_training(dying, record_property):
    address = f"127.0.0.1:{free_port()}"
    processes = [start(address, number, 2) for number in (0, 1)]
    try:
        metrics, deadline = Path("run/metrics.jsonl"), time.monotonic() + 400
        while not (metrics.exists() and metrics.stat().st_size):
            assert all(process.poll() is None for process in processes)
            assert time.monotonic() < deadline
            time.sleep(0.05)
        where = listening(address)
        assert where
        assert all(name.endswith("0100007F") for name in where), where  # 127.0.0.1, or ::ffff:it
        processes[dying].kill()
        killed = time.monotonic()
        said = one_line(processes[1 - dying], 120)
        record_property("seconds", time.monotonic() - killed)
        assert "another process of this run has ended" in said
        assert "--resume" in said
    finally:
        for process in processes:
            process.kill()
            process.communicate()


@pytest.mark.faults
@pytest.mark.parametrize("there", [0, 1])
def test_a_process_that_never_comes(there, record_property):
    start_time = time.monotonic()
    process = start(f"127.0.0.1:{free_port()}", there, 2)
    try:
        assert "do not find each other: not all of them came" in one_line(process, 200)
        record_property("seconds", time.monotonic() - start_time)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.faults
def test_processes_with_different_flags():
    address = f"127.0.0.1:{free_port()}"
    processes = [start(address, number, 2, "--l2", f"0.{number}") for number in (0, 1)]
    try:
        for process in processes:
            assert "different flags" in one_line(process, 200)
    finally:
        for process in processes:
            process.kill()
            process.communicate()
