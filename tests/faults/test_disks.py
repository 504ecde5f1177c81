"""A full disk ends a run with one line, and what is on it stays whole."""

import subprocess
from pathlib import Path

import pytest

from jaxcv import checkpoints
from tests.faults.processes import Run


@pytest.fixture
def small(tmp_path: Path):
    """Mounts a file system of so many kilobytes; skipped where this may not be done."""
    place = tmp_path / "small"
    place.mkdir()

    def mount(kilobytes: int) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(place)]
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip("mounting needs root")
        return place

    yield mount
    subprocess.run(["umount", "-l", str(place)], capture_output=True)


# A checkpoint of the subject has about 900 kB: full while the first is written, or a later one,
# or while figures and the page are.
@pytest.mark.parametrize(
    "kilobytes",
    [
        2200,
        *(pytest.param(k, marks=pytest.mark.faults) for k in (8, 400, 1000, 1500, 3000)),
        *(pytest.param(k, marks=pytest.mark.deep) for k in range(550, 3350, 200)),
    ],
)
def test_a_full_disk_is_one_line(small, tmp_path, kilobytes):
    place = small(kilobytes)
    flags = ["--no-verify", "--checkpoint-minutes", "0.001", "--workdir", str(place / "run")]
    run = Run("softmax", tmp_path / "out", flags)
    status = run.wait()
    # XLA says on a line of its own what it thinks of a compilation cache.
    told = [line for line in run.errors().splitlines() if not line[1:5].isdecimal()]
    assert (status, len(told)) in ((2, 1), (0, 0)), told
    if status == 2:
        assert "No space left on device" in told[0]
    directory = place / "run" / "checkpoints"
    if any(directory.glob("step-*")):
        assert checkpoints.restore(directory) is not None


@pytest.mark.faults
def test_a_read_only_directory_is_one_line(small, tmp_path):
    place = small(20_000)
    flags = ["--no-verify", "--workdir", str(place / "run")]
    assert Run("softmax", tmp_path / "first", [*flags, "--epochs", "1"]).wait() == 0
    before = contents(place)
    remount = ["mount", "-o", "remount,ro", str(place)]
    if subprocess.run(remount, capture_output=True).returncode:
        pytest.skip("remounting is refused")
    other = ["--no-verify", "--workdir", str(place / "other")]
    for number, arguments in enumerate(([*flags, "--resume", "--epochs", "3"], other)):
        run = Run("softmax", tmp_path / str(number), arguments)
        assert run.wait() == 2
        told = [line for line in run.errors().splitlines() if not line[1:5].isdecimal()]
        assert len(told) == 1, told
        assert "Read-only file system" in told[0]
    assert contents(place) == before


def contents(place: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in place.rglob("*") if path.is_file()}
