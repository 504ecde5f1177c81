"""`jaxcv sweep` as a user types it."""

from pathlib import Path

import pytest

from jaxcv import cli
from jaxcv.files import read_json
from jaxcv.sweeps import sweep as module

SCRIPT = '''
"""A tiny network."""
from jaxcv import Adam, Experiment, main, models
experiment = Experiment(model=models.MLP((8,)), optimizer=Adam(), epochs=1)
if __name__ == "__main__":
    raise AssertionError("a sweep does not run the script")
'''


@pytest.fixture
def script() -> str:
    Path("tiny.py").write_text(SCRIPT)
    return "tiny.py"


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "write_report", lambda *arguments: None)


def status(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        cli.entry(list(arguments))
    assert isinstance(stop.value.code, int)
    return stop.value.code


def rows(workdir: str) -> list[dict]:
    return read_json(Path(workdir) / "results.json")["trials"]


def test_a_grid_of_a_script_with_its_flags(script, plain, capsys):
    cli.entry([
        "sweep", script, "--set", "learning_rate=1e-3,1e-2", "--set", "features=4,4 4",
        "--seeds", "2", "--batch-size", "64", "--no-verify",
    ])  # fmt: skip
    found = rows("runs/tiny-sweep")
    assert [(r["learning_rate"], r["features"], r["seed"]) for r in found] == [
        (rate, features, seed) for rate in (1e-3, 1e-2) for features in ([4], [4, 4])
        for seed in (0, 1)
    ]  # fmt: skip
    assert {row["batch_size"] for row in found} == {64}
    out = capsys.readouterr().out
    assert "8/8 done" in out
    assert "images/s" in out


def test_a_range_is_searched_at_random(script, plain):
    cli.entry([
        "sweep", script, "--range", "learning_rate=log:1e-4..1e-1", "--trials", "3", "--seed", "7",
        "--workdir", "here", "--no-verify",
    ])  # fmt: skip
    assert len({row["learning_rate"] for row in rows("here")}) == 3
    assert {row["seed"] for row in rows("here")} == {7}


def test_a_saved_experiment_is_swept(script, plain):
    cli.entry(["sweep", script, "--set", "l2=0", "--workdir", "one", "--no-verify"])
    saved = "one/trials/00000/experiment.json"
    cli.entry(["sweep", saved, "--set", "l2=0,1", "--workdir", "two", "--no-verify"])
    assert rows("two")[0]["params_sha256"] == rows("one")[0]["params_sha256"]


def test_help_names_the_sweeps_flags_and_the_experiments(script, capsys):
    assert status("sweep", script, "--help") == 0
    out = capsys.readouterr().out
    for flag in ("--set", "--range", "--seeds", "--lane-mode", "--executor", "--learning-rate"):
        assert flag in out
    cli.entry(["sweep", "--help"])
    assert "jaxcv sweep EXPERIMENT" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((), None),
        (("nothing_like_it",), "no experiment"),
        (("tiny.py", "--set", "foo=1,2"), "no field 'foo'"),
        (("tiny.py", "--set", "learning_rate=abc"), "must be a number"),
        (("tiny.py", "--range", "activation=0..1"), "no number"),
        (("tiny.py", "--range", "learning_rate=log:0..1", "--trials", "2"), "log range"),
        (("tiny.py", "--range", "learning_rate=2..1", "--trials", "2"), "empty"),
        (("tiny.py", "--range", "learning_rate=0.1..1"), "--trials"),
        (("tiny.py", "--seeds", "0"), "at least 1"),
        (("tiny.py", "--lanes", "0"), "at least 1"),
        (("tiny.py", "--lane-mode", "both"), "--lane-mode"),
        (("tiny.py", "--address", "127.0.0.1:1"), "--executor ray"),
        (("tiny.py", "--storage", "sqlite:////no/such/place.db"), "cannot be opened"),
        (("tiny.py", "--storage", ""), "--storage must be"),
        (("tiny.py", "--frobnicate"), "unknown flag"),
        (
            ("tiny.py", "--learning-rate", "0.5", "--set", "learning_rate=0.1,1"),
            "--learning-rate gives one value to what the sweep varies",
        ),
        (("several.py",), "several experiments"),
        (("none.py",), "no experiment of its own"),
    ],
)
def test_bad_input_is_one_line_and_status_two(script, capsys, flags, said):
    Path("several.py").write_text(SCRIPT + "\nother = Experiment(models.MLP(), Adam())\n")
    Path("none.py").write_text('"""Nothing."""\n')
    assert status("sweep", *flags) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert said is None or said in err
    assert not list(Path().glob("runs/*/trials/*"))


@pytest.mark.parametrize(
    "name", ["autoencoder_sweep", "learning_rate_sweep", "seeds", "cifar10_94_sweep"]
)
def test_scripts_that_sweep_say_how_they_run(name, capsys):
    assert status("sweep", name) == 2
    assert f"{name}.py" in capsys.readouterr().err.partition("python ")[2]


def test_without_optuna_the_extra_is_named(script, capsys, monkeypatch):
    import importlib

    real = importlib.import_module

    def missing(name, *rest):
        if name == "optuna":
            raise ModuleNotFoundError("No module named 'optuna'", name="optuna")
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", missing)
    assert status("sweep", script, "--set", "l2=0,1", "--no-verify") == 2
    assert "jaxcv[sweep]" in capsys.readouterr().err
