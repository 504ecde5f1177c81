import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest

from jaxcv import journal, outcome, runtime
from jaxcv.comparison import Runs, compare
from jaxcv.experiment import Experiment
from jaxcv.models import MLP, Softmax
from jaxcv.optimizers import SGD

# A model, a length and a size of batches that differ.
VARIANTS = {
    "first": Experiment(model=MLP((4,)), optimizer=SGD(0.1), epochs=1, batch_size=64),
    "second": Experiment(model=Softmax(), optimizer=SGD(0.2), epochs=3, batch_size=32),
}


@pytest.fixture(autouse=True)
def _as_a_script(monkeypatch: pytest.MonkeyPatch) -> None:
    script = ModuleType("__main__", "Which is better?")
    script.__file__ = "experiments/which.py"
    monkeypatch.setitem(sys.modules, "__main__", script)
    monkeypatch.setattr(runtime, "enable_compilation_cache", lambda: None)


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs draw no pictures and write no page."""
    monkeypatch.setattr(outcome, "write_figures", lambda *arguments: [])
    monkeypatch.setattr(journal, "first_kernel", lambda *arguments: None)
    monkeypatch.setattr(outcome, "write_report", lambda workdir: workdir / "report.html")


def compared(*arguments: str, variants: Mapping[str, Experiment] = VARIANTS) -> list[dict]:
    """The experiments that were run, as they were saved."""
    seen: list[Runs] = []
    compare(variants, lambda workdir, runs: seen.append(runs), ["--no-verify", *arguments])
    (runs,) = seen
    assert list(runs) == list(variants)
    return [
        json.loads((result.workdir / "experiment.json").read_text()) for result in runs.values()
    ]


def test_each_is_a_run_with_its_own_settings():
    first, second = compared()
    assert (first["name"], second["name"]) == ("which-first", "which-second")
    assert (first["epochs"], second["epochs"]) == (1, 3)
    assert Path("runs/which/second/report.html").exists()


def test_what_is_named_holds_for_all_also_where_it_is_the_first_ones_default(plain):
    for workdir, flag in (("two words", ["--epochs", "1"]), ("one", ["--epochs=1"])):
        first, second = compared(*flag, "--workdir", workdir)
        assert (first["epochs"], second["epochs"]) == (1, 1)
        assert (first["batch_size"], second["batch_size"]) == (64, 32)
        rates = [one["optimizer"]["learning_rate"] for one in (first, second)]
        assert rates == [0.1, 0.2]


def test_what_one_of_them_does_not_have_is_left_out(plain):
    first, second = compared("--epochs", "1", "--features", "5", "--label-smoothing", "0.1")
    assert first["model"]["features"] == [5]
    assert "features" not in second["model"]
    assert [one["loss"]["label_smoothing"] for one in (first, second)] == [0.1, 0.1]
    assert (first["batch_size"], second["batch_size"]) == (64, 32)


def test_a_flag_that_leaves_no_difference_is_one_line(capsys):
    rates = {
        f"rate {rate}": Experiment(model=Softmax(), optimizer=SGD(rate)) for rate in (0.1, 1.0)
    }
    with pytest.raises(SystemExit) as end:
        compared("--learning-rate", "0.1", variants=rates)
    assert end.value.code == 2
    assert capsys.readouterr().err.splitlines() == [
        "which.py: 'rate 0.1' and 'rate 1.0' differ in --learning-rate alone, which this script "
        "chooses itself: leave it out"
    ]
    assert not Path("runs").exists()
