"""Programs whose output nobody reads, in processes of their own: streams are a process's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAM = """
import sys
from pathlib import Path
from jaxcv.exits import exits
with exits("it"):
    sys.stdin.readline()
    for number in range(3):
        print("line", number, "x" * 9000)
        print("line", file=sys.stderr)
    Path("done").touch()
"""


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("full", [False, True], ids=["pipe", "disk"])
def test_a_program_outlives_the_reader_of_its_output(full, unbuffered):
    read, write = os.pipe()
    out = os.open("/dev/full", os.O_WRONLY) if full else write
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=out,
        stderr=subprocess.PIPE if full else write,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": unbuffered},
        text=True,
    ) as process:
        os.close(read)
        os.close(write)
        _, said = process.communicate("go\n", timeout=100)
    assert Path("done").exists()
    # A closed pipe is nobody's mistake; that a disk is full is told once all is done.
    if full:
        os.close(out)
        line = "it: cannot write to standard output: No space left on device"
        assert said.splitlines() == ["line"] * 3 + [line]
    assert process.returncode == (2 if full else 0)
