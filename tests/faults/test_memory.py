"""Memory that the system refuses ends a run with one line, not a hang."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIMITED = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_AS, (9_000_000_000,) * 2)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.faults
def test_a_network_too_large_for_the_memory_is_one_line():
    script = str(ROOT / "experiments" / "mlp_relu.py")
    flags = ["--features", "900000", "--no-verify", "--workdir", "run"]  # 11 GB of weights
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", LIMITED, script, *flags]
    # Killed after the time, since a process that hangs in XLA does not hear SIGTERM.
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "mlp_relu.py: there is not enough memory: " in done.stderr
