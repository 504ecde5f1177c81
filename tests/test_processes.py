"""Promises about whole processes: signals, exit statuses, and the same bits in each."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A compilation cache that starts cold."""
    return tmp_path_factory.mktemp("compiled")


def start(compiled: Path, *arguments: str | Path) -> subprocess.Popen[str]:
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(compiled),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "PYTHONPATH": str(ROOT),
    }
    # Set by JAX in this process; it is jaxcv's own setting that keeps XLA quiet.
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    # A shell's background jobs are deaf to Ctrl-C, and so would be what they start.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
    finally:
        signal.signal(signal.SIGINT, before)


def run(compiled: Path, *arguments: str | Path) -> tuple[int, str, str]:
    process = start(compiled, *arguments)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def result_of(workdir: str) -> dict:
    return json.loads((Path(workdir) / "result.json").read_text())


# The command as a script, by name through the program, and as a module.
COMMANDS = {
    "mlp_relu": (["--features", "16", "--epochs", "2"], [ROOT / "experiments" / "mlp_relu.py"]),
    "cnn": (["--features", "4", "4", "--epochs", "1"], ["-m", "jaxcv", "run", "cnn"]),
}


@pytest.mark.parametrize("name", ["mlp_relu", pytest.param("cnn", marks=pytest.mark.every_script)])
def test_two_processes_with_a_cold_and_a_warm_cache_give_the_same_bits(compiled, name):
    flags, command = COMMANDS[name]
    results, cached = [], [set(compiled.iterdir())]
    for workdir in ("cold", "warm"):
        status, out, err = run(compiled, *command, *flags, "--workdir", workdir)
        assert status == 0, err
        assert "test accuracy" in out
        assert not err, err
        results.append(result_of(workdir))
        cached.append(set(compiled.iterdir()))
    # The first fills the cache, the second finds everything there.
    before, filled, after = cached
    assert before < filled == after
    cold, warm = results
    assert cold["params_sha256"] == warm["params_sha256"]
    assert cold["test_accuracy"] == warm["test_accuracy"]
    assert cold["experiment"] == name


LONG = [
    ROOT / "experiments" / "softmax_sgd.py",
    "--epochs", "100000", "--workdir", "long", "--batch-size", "64",
]  # fmt: skip


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["TERM", "INT"]
)
def test_a_signal_saves_the_state_and_says_so(compiled, number, status):
    from jaxcv import checkpoints

    process = start(compiled, *LONG)
    metrics = Path("long/metrics.jsonl")
    deadline = time.monotonic() + 200
    while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(number)
    try:
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == status, err
    assert len(err.splitlines()) == 1, err
    assert "--resume" in err
    assert not Path("long/result.json").exists()
    saved = checkpoints.restore(Path("long/checkpoints"))
    assert saved is not None
    assert f"step {int(saved.state.step)};" in err
    # An epoch is done when its line is there: its steps may be, and its evaluation not.
    assert len(metrics.read_text().splitlines()) == saved.epoch
    steps = json.loads(metrics.read_text().splitlines()[0])["step"]
    assert 0 <= int(saved.state.step) - saved.epoch * steps <= steps


def test_a_script_ends_with_one_line(compiled):
    """Without jaxcv's own program, from the first import on."""
    script = ROOT / "experiments" / "softmax_sgd.py"
    code, out, err = run(compiled, script, "--learning-rate", "0")
    assert (code, out) == (2, "")
    assert err == "softmax_sgd.py: --learning-rate must be a number greater than 0, not 0.0\n"
