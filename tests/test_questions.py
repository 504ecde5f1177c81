import json
import sys
from pathlib import Path
from types import ModuleType

import jax
import pytest

from jaxcv import questions, runtime
from jaxcv.errors import Diverged, UserError
from jaxcv.experiment import Experiment
from jaxcv.models import Softmax
from jaxcv.optimizers import SGD
from jaxcv.plots import compared
from jaxcv.questions import Flags, Outcome, ask, train


@pytest.fixture(autouse=True)
def _as_a_script(monkeypatch: pytest.MonkeyPatch) -> None:
    script = ModuleType("__main__", "Is it so?\n\nMore.")
    script.__file__ = "experiments/so.py"
    monkeypatch.setitem(sys.modules, "__main__", script)
    monkeypatch.setattr(runtime, "enable_compilation_cache", lambda: None)


def status_of(answer, *arguments: str, epochs: int = 5) -> int:
    try:
        ask(answer, epochs, arguments)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_an_answer_gets_its_flags():
    seen = []
    assert status_of(seen.append, epochs=3) == 0
    assert status_of(seen.append, "--epochs", "7", "--workdir", "there", "--seed", "2") == 0
    assert [flags.epochs for flags in seen] == [3, 7]
    assert [flags.path for flags in seen] == [Path("runs/so"), Path("there")]
    assert (seen[0].data, seen[1].seed) == ("digits", 2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--epochs", "0"], "--epochs must be a whole number at least 1"),
        (["--epocs", "1"], "did you mean --epochs?"),
        (["--seed", "-1"], "--seed"),
    ],
)
def test_wrong_flags_are_one_line(capsys, arguments, said):
    assert status_of(lambda flags: None, *arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert said in lines[0]


def test_a_missing_device_is_one_line(capsys, monkeypatch):
    def missing():
        raise AssertionError  # as jax 0.9 does

    monkeypatch.setattr(jax, "devices", missing)
    assert status_of(lambda flags: None) == 2
    assert "asks for a device that is not here" in capsys.readouterr().err


def test_variants_are_runs_of_their_own_and_are_taken_up_again(capsys):
    variants = {
        "slow": Experiment(model=Softmax(), optimizer=SGD(1e-6)),
        "rate 0.1, fast": Experiment(model=Softmax(), optimizer=SGD(1e-1), seed=4),
    }
    flags = Flags(epochs=2, seed=1, workdir="so", validation=100, verify=False)
    outcomes = train(variants, flags)
    assert [o.workdir for o in outcomes.values()] == [Path("so/slow"), Path("so/rate_0_1_fast")]
    slow, fast = outcomes.values()
    assert slow.record is not None
    assert fast.record is not None
    assert (slow.record["seed"], fast.record["seed"], fast.record["epochs"]) == (1, 5, 2)
    assert fast.accuracy == fast.record["val_accuracy"] > slow.accuracy
    assert "rate 0.1, fast" in capsys.readouterr().out

    before = {path: path.stat().st_mtime_ns for path in Path("so").rglob("*")}
    again = train(variants, flags)
    assert again["slow"].record == slow.record
    assert {path: path.stat().st_mtime_ns for path in Path("so").rglob("*")} == before

    flags.show(compared({name: outcome.metrics for name, outcome in outcomes.items()}))
    assert Path("so/so.png").read_bytes().startswith(b"\x89PNG")


def test_a_variant_that_diverges_leaves_the_others_alone(monkeypatch):
    def run(experiment, flags):
        if experiment.name == "wild":
            raise Diverged("the loss is not finite in epoch 1")
        Path(flags.workdir).mkdir(parents=True)
        Path(flags.workdir, "metrics.jsonl").write_text(json.dumps({"epoch": 1}) + "\n")
        return questions_result(flags.workdir)

    def questions_result(workdir):
        from jaxcv.fitting import Result

        return Result(Path(workdir), {"val_accuracy": None, "test_accuracy": 0.75})

    monkeypatch.setattr(questions, "run", run)
    plain = Experiment(model=Softmax(), optimizer=SGD())
    outcomes = train({"wild": plain, "tame": plain}, Flags(workdir="so"))
    assert outcomes["wild"].record is None
    assert outcomes["wild"].accuracy != outcomes["wild"].accuracy
    assert outcomes["tame"] == Outcome(Path("so/tame"), outcomes["tame"].record, [{"epoch": 1}])
    assert outcomes["tame"].accuracy == 0.75


def test_other_mistakes_end_the_script(monkeypatch):
    def run(experiment, flags):
        raise UserError("no such data")

    monkeypatch.setattr(questions, "run", run)
    with pytest.raises(UserError, match="no such data"):
        train({"one": Experiment(model=Softmax(), optimizer=SGD())}, Flags())


def test_a_picture_that_cannot_be_written_is_the_users_mistake():
    Path("so").write_text("a file")
    with pytest.raises(UserError, match="cannot write in so"):
        Flags(workdir="so").show(compared({}))
