"""Every experiment script, one epoch of its default data, as a user runs it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jaxcv.files import read_json

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "experiments").glob("*.py"))
# A cheap one for `make test`, which trains by others' tests; `make test-all` runs all.
CHOSEN = {"conv_is_dense"}


def run(script: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(script), *flags],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def marked(script: Path):
    marks = () if script.stem in CHOSEN else (pytest.mark.every_script,)
    return pytest.param(script, id=script.stem, marks=marks)


@pytest.mark.parametrize("script", [marked(script) for script in SCRIPTS])
def test_one_epoch(script: Path):
    done = run(script, "--epochs", "1", "--workdir", "here")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    result = Path("here/result.json")
    if result.exists():
        assert read_json(result)["epochs"] == 1
        assert Path("here/report.html").exists()
    elif tables := list(Path("here").glob("**/results.json")):
        assert all(read_json(table)["trials"] for table in tables)
        assert all((table.parent / "report.html").exists() for table in tables)
    elif Path("here/comparison.html").exists():
        runs = [read_json(path) for path in Path("here").glob("*/result.json")]
        assert len(runs) > 1
        assert {run["epochs"] for run in runs} == {1}
    else:
        (picture,) = Path("here").glob("*.png")
        assert picture.stat().st_size > 5_000


@pytest.mark.every_script
@pytest.mark.parametrize("version", ["ours", "muon", "sgd"])
def test_the_versions_of_the_fast_run_learn_the_digits(version: str):
    """At their own length, a whole number of epochs or not."""
    script = ROOT / "experiments" / "cifar10_94.py"
    done = run(script, "--version", version, "--workdir", "here")
    assert done.returncode == 0, done.stderr
    result = read_json(Path("here/result.json"))
    # One of the ten classes is a tenth; a few epochs on 1,100 images tell most of them apart.
    assert result["test_accuracy"] >= 0.9
    assert result["test_accuracy_plain"] >= 0.9
    assert 0 < result["training_pflop"] < 0.01
