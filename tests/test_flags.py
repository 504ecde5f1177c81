import contextlib
import dataclasses
import io

import pytest

from jaxcv import models
from jaxcv.errors import UserError
from jaxcv.experiment import Experiment, flat_settings
from jaxcv.flags import descriptions, parse, parse_experiment
from jaxcv.losses import CrossEntropy
from jaxcv.optimizers import Adam, Momentum
from jaxcv.schedules import Piecewise, WarmupCosine
from jaxcv.script import RunFlags

BASE = Experiment(model=models.CNN(), optimizer=Adam())


def parsed(line: str, experiment: Experiment = BASE):
    return parse_experiment(experiment, line.split(), "script.py", "What it is.", RunFlags)


def test_no_flag_changes_nothing():
    assert parsed("") == (BASE, RunFlags())


@pytest.mark.parametrize(
    ("line", "settings"),
    [
        ("--learning-rate 0.5", {"optimizer": Adam(0.5)}),
        ("--learning-rate=5e-1", {"optimizer": Adam(0.5)}),
        ("--learning-rate 1 --beta1 0", {"optimizer": Adam(1.0, 0.0)}),
        ("--features 32 32", {"model": models.CNN(features=(32, 32))}),
        ("--features 8", {"model": models.CNN(features=(8,))}),
        ("--features 8 4 2 --epochs 3", {"model": models.CNN(features=(8, 4, 2)), "epochs": 3}),
        ("--epochs 9.9", {"epochs": 9.9}),
        ("--validation 0", {"validation": 0}),
        ("--validation 100", {"validation": 100}),
        ("--patience 3", {"patience": 3}),
        ("--clip-norm 1.0", {"clip_norm": 1.0}),
        ("--label-smoothing 0.1 --l2 1e-4", {"loss": CrossEntropy(0.1, 1e-4)}),
        ("--precision bfloat16", {"precision": "bfloat16"}),
        ("--normalization standardize", {"normalization": "standardize"}),
        ("--data cifar10 --data-dir /x --data-seed 2", {"data": "cifar10", "data_seed": 2}),
        ("--data tfds:mnist", {"data": "tfds:mnist"}),
        ("--seed 7 --batch-size 9", {"seed": 7, "batch_size": 9}),
    ],
)
def test_flags_are_flat(line, settings):
    experiment, _ = parsed(line)
    if "--data-dir" in line:
        settings = settings | {"data_dir": "/x"}
    assert experiment == dataclasses.replace(BASE, **settings)


def test_flags_of_the_run():
    assert parsed("--workdir out --resume")[1] == RunFlags("out", True)
    assert parsed("--seed 1")[1] == RunFlags(None, False)


def test_schedules_and_booleans_have_flags():
    base = Experiment(model=models.MLP(), optimizer=Momentum(), schedule=Piecewise((1.0,), (0.1,)))
    experiment, _ = parsed(
        "--nesterov --momentum 0.5 --boundaries 2 4 --factors 0.1 0.01 --activation tanh", base
    )
    assert experiment.optimizer == Momentum(momentum=0.5, nesterov=True)
    assert experiment.schedule == Piecewise((2.0, 4.0), (0.1, 0.01))
    assert experiment.model == models.MLP(activation="tanh")
    warm = Experiment(model=models.MLP(), optimizer=Adam(), schedule=WarmupCosine())
    assert parsed("--warmup-epochs 2", warm)[0].schedule == WarmupCosine(2.0)


def test_a_setting_can_be_taken_away_again():
    base = dataclasses.replace(BASE, patience=3, clip_norm=1.0)
    experiment, _ = parsed("--patience None --clip-norm None", base)
    assert experiment.patience is None
    assert experiment.clip_norm is None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--epocs 3", ["--epocs", "--epochs"]),
        ("--learning_rat 3", ["--learning-rat", "--learning-rate"]),
        ("--optimizer.learning-rate 1", ["--optimizer.learning-rate"]),
        ("--frobnicate", ["--frobnicate", "--help"]),
        ("--frobnicate=3", ["--frobnicate", "--help"]),
        ("-e 3", ["-e"]),
        ("--name x", ["--name"]),
        ("--num-classes 3", ["--num-classes"]),
        ("--nesterov", ["--nesterov"]),
        ("stray", ["'stray'"]),
        ("stray_name", ["'stray_name'"]),
        ("--epochs 3 4", ["'4'"]),
        ("--resume 3", ["'3'"]),
        ("--epochs -1", ["--epochs", "-1", "at least 1"]),
        ("--epochs 0", ["--epochs", "0", "at least 1"]),
        ("--epochs 0.5", ["--epochs", "0.5", "at least 1"]),
        ("--epochs", ["--epochs", "whole number"]),
        ("--epochs many", ["--epochs", "many", "whole number"]),
        ("--epochs --seed 3", ["--epochs", "whole number"]),
        ("--learning-rate 0", ["--learning-rate", "0", "greater than 0"]),
        ("--learning-rate nan", ["--learning-rate", "nan", "greater than 0"]),
        ("--learning-rate inf", ["--learning-rate", "inf", "greater than 0"]),
        ("--learning-rate abc", ["--learning-rate", "abc", "greater than 0"]),
        ("--learning-rate -1e-3", ["--learning-rate", "-0.001", "greater than 0"]),
        ("--learning-rate 1e400", ["--learning-rate", "inf", "greater than 0"]),
        ("--learning-rate=", ["--learning-rate", "greater than 0"]),
        ("--precision x", ["--precision", "'x'", "float32, bfloat16, float64"]),
        ("--clip-norm abc", ["--clip-norm", "abc", "greater than 0"]),
        ("--clip-norm 0", ["--clip-norm", "0", "greater than 0"]),
        ("--patience 0", ["--patience", "0", "at least 1"]),
        ("--patience x", ["--patience", "'x'", "at least 1"]),
        ("--validation -1", ["--validation", "-1", "at least 0"]),
        ("--validation 0 --patience 3", ["--patience", "--validation 0"]),
        ("--seed -1", ["--seed", "-1", "at least 0"]),
        ("--seed 4294967296", ["--seed", "4294967296", "4294967295"]),
        ("--batch-size 0", ["--batch-size", "0", "at least 1"]),
        ("--features 3 x", ["--features", "'3 x'", "whole number"]),
        ("--features 0", ["--features", "0", "at least 1"]),
        ("--label-smoothing 1", ["--label-smoothing", "1.0", "less than 1"]),
        ("--beta1 1", ["--beta1", "1.0", "less than 1"]),
        ("--workdir", ["--workdir"]),
    ],
)
def test_bad_flags_are_one_line(line, said):
    with pytest.raises(UserError) as caught:
        parsed(line)
    message = str(caught.value)
    assert all(word in message for word in said), message
    assert "\n" not in message
    assert len(message) < 160
    assert "Annotated" not in message


def test_piecewise_flags_must_fit_each_other():
    base = Experiment(model=models.MLP(), optimizer=Adam(), schedule=Piecewise((1.0,), (0.1,)))
    with pytest.raises(UserError, match="--factors must be as many as --boundaries"):
        parsed("--boundaries 1 2 --factors 0.1", base)
    with pytest.raises(UserError, match="ascend"):
        parsed("--boundaries 2 1 --factors 0.1 0.2", base)


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_lists_every_flag_with_what_it_does(flag, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    out = io.StringIO()
    with contextlib.redirect_stdout(out), pytest.raises(SystemExit) as end:
        parsed(flag)
    assert end.value.code == 0
    text = " ".join(out.getvalue().split())
    assert "What it is." in text
    for path, name, _, _ in flat_settings(BASE):
        hidden = name in ("name", "num_classes")
        assert (f"--{name.replace('_', '-')} " in text) is not hidden, (path, name)
    for name in ("workdir", "resume", "data", "precision"):
        assert f"--{name}" in text
    assert "largest global norm of a gradient" in text


def test_descriptions_are_read_over_several_lines():
    assert descriptions(Experiment)["patience"].endswith("keep the best parameters")
    assert descriptions(int) == {}


def test_parse_reads_any_dataclass():
    assert parse(RunFlags, ["--workdir", "x"], "p", "d") == RunFlags("x")
