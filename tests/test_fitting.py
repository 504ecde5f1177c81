import dataclasses
import json
import math
import shutil
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxcv import checkpoints, fitting, journal, models, outcome, running
from jaxcv.data import load as load_data
from jaxcv.errors import UserError
from jaxcv.exits import Interrupted
from jaxcv.experiment import Experiment
from jaxcv.experiment_json import to_json
from jaxcv.files import read_json, write_json
from jaxcv.fitting import fit
from jaxcv.losses import CrossEntropy
from jaxcv.optimizers import SGD, Adam, Momentum
from jaxcv.results import num_params, params_sha256
from jaxcv.running import Run
from jaxcv.schedules import WarmupCosine, WarmupLinear
from jaxcv.sweeps.sweep import sweep
from jaxcv.trained import load
from tests import tiny

TINY = Experiment(
    model=models.MLP(features=(8,)),
    optimizer=Momentum(0.02),
    name="tiny",
    epochs=3,
    loss=CrossEntropy(0.05, 1e-4),
)
STEPS = 1294 // 128

RESULT = [
    "experiment", "data", "seed", "data_seed", "epochs", "best_epoch", "val_accuracy",
    "test_accuracy", "num_params", "params_sha256", "resumed_from_steps", "seconds",
    "compile_seconds", "images_per_second", "training_pflop", "versions", "device",
]  # fmt: skip
METRICS = [
    "epoch", "step", "train_loss", "train_accuracy", "val_loss", "val_accuracy",
    "learning_rate", "seconds", "images_per_second",
]  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, pictures and all, that tests look at and do not change."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    fit(TINY, workdir)
    return workdir


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs draw no pictures and write no page: half of a tiny run's time."""
    monkeypatch.setattr(outcome, "write_figures", lambda *arguments: [])
    monkeypatch.setattr(journal, "first_kernel", lambda *arguments: None)
    monkeypatch.setattr(outcome, "write_report", lambda workdir: workdir / "report.html")


def metrics_of(workdir: Path) -> list[dict]:
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def what_counts(workdir: Path) -> list[dict]:
    """The lines of metrics.jsonl without what the clock says."""
    timed = ("seconds", "images_per_second")
    return [{k: v for k, v in line.items() if k not in timed} for line in metrics_of(workdir)]


def contents(directory: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(p.relative_to(directory)): (p.stat().st_mtime_ns, p.read_bytes())
        for p in directory.rglob("*")
        if p.is_file()
    }


def after(calls: int, number: int = 15):
    """Tells of a signal from the so-many-th time on that it is asked."""
    asked = 0

    def signalled() -> int:
        nonlocal asked
        asked += 1
        return number if asked >= calls else 0

    return signalled


# --- what a run leaves --------------------------------------------------------------------------


def test_a_run_leaves_every_file(whole):
    names = {p.name for p in whole.iterdir()}
    events = {name for name in names if name.startswith("events.")}
    assert len(events) == 1
    assert names - events == {
        "experiment.json", "metrics.jsonl", "checkpoints", "figures", "report.html", "result.json",
    }  # fmt: skip
    figures = {p.name for p in (whole / "figures").iterdir()}
    assert {"curves.png", "predictions.png", "weights.png"} <= figures
    assert all((whole / "figures" / f).read_bytes().startswith(b"\x89PNG") for f in figures)
    assert 1 <= len(list((whole / "checkpoints").iterdir())) <= 2
    assert (whole / "checkpoints" / f"step-{3 * STEPS:010d}.msgpack").exists()
    assert "<html" in (whole / "report.html").read_text()


def test_result_json_has_exactly_its_fields(whole):
    result = read_json(whole / "result.json")
    assert list(result) == RESULT
    assert result["experiment"] == "tiny"
    assert (result["data"], result["seed"], result["data_seed"]) == ("digits", 0, 0)
    assert (result["epochs"], result["resumed_from_steps"]) == (3, [])
    assert result["num_params"] == 3072 * 8 + 8 + 8 * 10 + 10
    assert len(result["params_sha256"]) == 64
    assert set(result["versions"]) == {"python", "jax", "jaxlib", "flax", "optax", "jaxcv"}
    assert result["versions"]["jax"] == jax.__version__
    assert 0 < result["compile_seconds"] < result["seconds"]
    assert result["images_per_second"] > 0
    assert result["device"] == "cpu"
    # Forward, and the gradients of the kernels and of one layer's input.
    passes = 2 * 3072 * 8 + 3 * 8 * 10
    assert result["training_pflop"] == pytest.approx(3 * STEPS * 128 * 2 * passes / 1e15)
    metrics = metrics_of(whole)
    # Without early stopping: the accuracy of the final parameters, the epoch of the best.
    assert result["val_accuracy"] == metrics[-1]["val_accuracy"]
    accuracies = [line["val_accuracy"] for line in metrics]
    assert result["best_epoch"] == 1 + accuracies.index(max(accuracies))


def test_metrics_have_a_line_an_epoch(whole):
    metrics = metrics_of(whole)
    assert [list(line) for line in metrics] == [METRICS] * 3
    assert [line["epoch"] for line in metrics] == [1, 2, 3]
    assert [line["step"] for line in metrics] == [STEPS, 2 * STEPS, 3 * STEPS]
    assert metrics[0]["train_loss"] > metrics[2]["train_loss"] > 0
    for line in metrics:
        assert 0 <= line["train_accuracy"] <= 1
        assert 0 <= line["val_accuracy"] <= 1
        assert line["learning_rate"] == pytest.approx(0.02)
        assert line["seconds"] > 0
        assert line["images_per_second"] == pytest.approx(STEPS * 128 / line["seconds"])


def test_the_experiment_is_written_whole(whole):
    from jaxcv.experiment_json import from_json
    from jaxcv.parts import PART_TYPES

    assert from_json(read_json(whole / "experiment.json"), PART_TYPES) == TINY


def test_the_loaded_model_predicts_what_the_run_tested(whole):
    result, data = read_json(whole / "result.json"), load_data("digits")
    trained = load(whole)
    assert params_sha256(trained.params, trained.batch_stats) == result["params_sha256"]
    assert num_params(trained.params) == result["num_params"]
    probabilities = trained.predict(data.images[data.test])
    assert probabilities.shape == (360, 10)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    right = (probabilities.argmax(axis=1) == data.labels[data.test]).mean()
    assert right == pytest.approx(result["test_accuracy"])
    assert trained.classes == data.classes
    last = metrics_of(whole)[-1]
    logits = np.asarray(trained.outputs(data.images[data.validation]), np.float64)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    labels = data.labels[data.validation]
    loss = -(0.95 * log_p[np.arange(len(labels)), labels] + 0.05 * log_p.mean(axis=1)).mean()
    assert last["val_loss"] == pytest.approx(loss, rel=1e-4)
    assert last["val_accuracy"] == pytest.approx((logits.argmax(axis=1) == labels).mean())


# --- workdirs -----------------------------------------------------------------------------------


def test_a_finished_workdir_is_left_as_it_is(whole, capsys):
    before = contents(whole)
    result = fit(TINY, whole)
    again = fit(TINY, whole, resume=True)
    assert contents(whole) == before
    assert "is finished" in capsys.readouterr().out
    assert result.record == again.record == read_json(whole / "result.json")


def test_a_run_that_was_killed_before_its_page_gets_it(whole, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(whole, workdir)
    (workdir / "report.html").unlink()
    for left in (".lock", ".report.html.1.tmp"):
        (workdir / left).touch()
    fit(TINY, workdir, resume=True)
    assert sorted(workdir.rglob("*")) == sorted(
        workdir / p.relative_to(whole) for p in whole.rglob("*")
    )


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"optimizer": Momentum(0.03)}, "learning_rate"),
        ({"optimizer": SGD(0.02)}, r"optimizer \('Momentum', here 'SGD'\)"),
        ({"model": models.MLP(features=(9,))}, "features"),
        ({"seed": 1}, "seed"),
        ({"data_seed": 1}, "data_seed"),
        ({"validation": 100}, "validation"),
        ({"epochs": 4}, "epochs"),
        ({"epochs": 2}, "epochs"),
        ({"name": "other"}, "name"),
        ({"clip_norm": 1.0}, "clip_norm"),
    ],
)
def test_another_experiments_workdir_is_refused(whole, changes, named):
    before = contents(whole)
    with pytest.raises(UserError, match=named):
        fit(dataclasses.replace(TINY, **changes), whole)
    if changes.get("epochs", 0) < 4:
        with pytest.raises(UserError, match=named):
            fit(dataclasses.replace(TINY, **changes), whole, resume=True)
    assert contents(whole) == before


def test_a_directory_of_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match="--workdir"):
        fit(TINY, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("name", ["file", "file/below", "x" * 300])
def test_a_workdir_that_cannot_be_is_one_line(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError) as caught:
        fit(TINY, tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_full_disk_is_one_line(tmp_path, plain, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal, "append_metrics", full)
    with pytest.raises(UserError, match="No space left on device"):
        fit(TINY, tmp_path / "run")


def test_the_default_workdir_is_named_by_the_experiment(plain):
    result = fit(dataclasses.replace(TINY, epochs=1))
    assert result.workdir == Path("runs/tiny")
    assert Path("runs/tiny/result.json").exists()


# --- stopping and going on ----------------------------------------------------------------------


@pytest.fixture
def many_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of three steps: 3, 6, 9, 10 in each epoch, whatever the machine's speed."""
    monkeypatch.setattr(running, "Pace", lambda: fitting_pace(3))


def fitting_pace(limit: int):
    from jaxcv.epochs import Pace

    pace = Pace(limit)
    pace.learn = lambda seconds, most: None
    return pace


# Asked after four chunks of each epoch, before its evaluation, and at its end: 1-4 | 5 | 6-9 | ...
@pytest.mark.parametrize("calls", [1, 3, 4, 5, 6, 9, 10, 14])
def test_a_stopped_run_goes_on_as_if_it_had_not(whole, plain, many_chunks, tmp_path, calls):
    workdir = tmp_path / "run"
    with pytest.raises(Interrupted) as caught:
        fit(TINY, workdir, signalled=after(calls))
    assert caught.value.status == 143
    epochs, within = divmod(calls, 5)
    step = epochs * STEPS + min(3 * within, STEPS)
    assert f"step {step};" in str(caught.value)
    assert not (workdir / "result.json").exists()
    assert len(metrics_of(workdir) if epochs else []) == epochs
    with pytest.raises(UserError, match="--resume"):
        fit(TINY, workdir)
    result = fit(TINY, workdir, resume=True).record
    expected = read_json(whole / "result.json")
    assert result["resumed_from_steps"] == [step]
    for name in ("params_sha256", "test_accuracy", "val_accuracy", "best_epoch", "epochs"):
        assert result[name] == expected[name], name
    assert what_counts(workdir) == what_counts(whole)


def test_a_run_stopped_many_times_goes_on(whole, plain, many_chunks, tmp_path):
    steps = []
    for _ in range(40):
        try:
            result = fit(TINY, tmp_path / "run", resume=True, signalled=after(2)).record
            break
        except Interrupted as stop:
            steps.append(int(str(stop).split("step ")[1].split(";")[0]))
    else:
        pytest.fail("the run never came to its end")
    assert len(steps) > 3
    assert result["resumed_from_steps"] == steps
    assert result["params_sha256"] == read_json(whole / "result.json")["params_sha256"]
    assert what_counts(tmp_path / "run") == what_counts(whole)


def test_resume_without_a_checkpoint_starts_at_the_beginning(whole, plain, tmp_path):
    workdir = tmp_path / "run"
    workdir.mkdir()
    (workdir / "experiment.json").write_bytes((whole / "experiment.json").read_bytes())
    with pytest.raises(UserError, match="unfinished"):
        fit(TINY, workdir)
    result = fit(TINY, workdir, resume=True).record
    assert result["resumed_from_steps"] == []
    assert result["params_sha256"] == read_json(whole / "result.json")["params_sha256"]


def test_resume_of_nothing_is_a_new_run(plain, tmp_path):
    result = fit(dataclasses.replace(TINY, epochs=1), tmp_path / "run", resume=True)
    assert result.record["resumed_from_steps"] == []


def test_no_run_goes_on_with_other_images(plain, tmp_path, monkeypatch):
    """As many of them, of one size and with the same labels, found in another place."""
    fit(dataclasses.replace(TINY, epochs=1), tmp_path / "run")
    digits = load_data("digits")
    others = dataclasses.replace(digits, images=255 - digits.images)
    assert others.digest != digits.digest
    monkeypatch.setattr(fitting, "_load", lambda experiment: others)
    with pytest.raises(UserError, match="on other images than those that were found now"):
        fit(TINY, tmp_path / "run", resume=True)
    monkeypatch.undo()
    assert fit(TINY, tmp_path / "run", resume=True).record["resumed_from_steps"] == [STEPS]


def test_a_trial_of_a_sweep_is_not_trained_on(tmp_path):
    found = sweep(TINY, {"seed": [0]}, tmp_path / "sweep", verify=False)
    trial, longer = found.trials[0], dataclasses.replace(TINY, epochs=9)
    before = files_of(trial.workdir.path)
    for resume in (False, True):
        with pytest.raises(UserError, match=r"add --resume|holds a trial of a sweep"):
            fit(longer, trial.workdir.path, resume=resume)
    assert files_of(trial.workdir.path) == before
    assert fit(trial.trial.experiment, trial.workdir.path).record == trial.record


def files_of(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


def test_the_page_of_a_shorter_run_does_not_stay(tmp_path, monkeypatch):
    def killed(workdir):
        raise KeyboardInterrupt

    workdir = tmp_path / "run"
    short = dataclasses.replace(TINY, epochs=1)
    fit(short, workdir)
    longer = dataclasses.replace(TINY, epochs=2)
    with monkeypatch.context() as patch:
        patch.setattr(outcome, "write_report", killed)
        with pytest.raises(KeyboardInterrupt):
            fit(longer, workdir, resume=True)
    result = fit(longer, workdir, resume=True).record
    assert result["params_sha256"] in (workdir / "report.html").read_text()


def test_a_file_of_that_name_is_not_yet_a_result(whole, tmp_path):
    workdir = tmp_path / "run"
    workdir.mkdir()
    (workdir / "experiment.json").write_bytes((whole / "experiment.json").read_bytes())
    write_json(workdir / "result.json", {})
    with pytest.raises(UserError, match=r"result\.json: no result of a run.* --resume"):
        fit(TINY, workdir)


def test_more_epochs_go_on_where_the_run_ended(whole, plain, tmp_path):
    short = dataclasses.replace(TINY, epochs=1)
    fit(short, tmp_path / "run")
    with pytest.raises(UserError, match="this run with 1 epochs; add --resume to train on to 3"):
        fit(TINY, tmp_path / "run")
    result = fit(TINY, tmp_path / "run", resume=True).record
    expected = read_json(whole / "result.json")
    assert result["resumed_from_steps"] == [STEPS]
    assert result["params_sha256"] == expected["params_sha256"]
    assert result["test_accuracy"] == expected["test_accuracy"]
    assert what_counts(tmp_path / "run") == what_counts(whole)
    assert read_json(tmp_path / "run" / "experiment.json")["epochs"] == 3


def test_the_newest_checkpoint_damaged_means_the_one_before(whole, plain, many_chunks, tmp_path):
    workdir = tmp_path / "run"
    for _ in range(2):
        with pytest.raises(Interrupted):
            fit(TINY, workdir, resume=True, signalled=after(2))
    older, newest = sorted((workdir / "checkpoints").iterdir())
    newest.write_bytes(newest.read_bytes()[:-9])
    with pytest.warns(UserWarning, match="damaged"):
        result = fit(TINY, workdir, resume=True).record
    assert result["resumed_from_steps"][-1] == int(older.stem.split("-")[1])
    assert result["params_sha256"] == read_json(whole / "result.json")["params_sha256"]


def test_all_checkpoints_damaged_is_one_line(plain, many_chunks, tmp_path):
    with pytest.raises(Interrupted):
        fit(TINY, tmp_path / "run", signalled=after(1))
    for path in (tmp_path / "run" / "checkpoints").iterdir():
        path.write_bytes(b"")
    with pytest.raises(UserError, match="every checkpoint"):
        fit(TINY, tmp_path / "run", resume=True)


# --- validation, early stopping -----------------------------------------------------------------


def test_without_validation_images_there_are_nulls(plain, tmp_path):
    it = dataclasses.replace(TINY, validation=0, epochs=2)
    result = fit(it, tmp_path / "run").record
    assert (result["val_accuracy"], result["best_epoch"]) == (None, 2)
    for line in metrics_of(tmp_path / "run"):
        assert line["val_loss"] is None
        assert line["val_accuracy"] is None
        assert math.isfinite(line["train_loss"])


def test_early_stopping_keeps_the_best_parameters(plain, many_chunks, tmp_path):
    # A learning rate so large that the validation accuracy goes up and down.
    it = dataclasses.replace(TINY, optimizer=Momentum(0.15), patience=2, epochs=30)
    result = fit(it, tmp_path / "run").record
    accuracies = [line["val_accuracy"] for line in metrics_of(tmp_path / "run")]
    best = 1 + accuracies.index(max(accuracies))
    assert result["epochs"] == len(accuracies) == best + 2 < 30
    assert result["best_epoch"] == best
    assert result["val_accuracy"] == max(accuracies)
    # The same run, of so many epochs, has the accuracy that is told of the best.
    straight = fit(
        dataclasses.replace(it, patience=None, epochs=best), tmp_path / "straight"
    ).record
    assert result["test_accuracy"] == straight["test_accuracy"]
    assert result["params_sha256"] != straight["params_sha256"]  # that of the final ones
    final = fit(dataclasses.replace(it, patience=None, epochs=best + 2), tmp_path / "final").record
    assert result["params_sha256"] == final["params_sha256"]
    assert result["test_accuracy"] != final["test_accuracy"]  # or this test shows nothing
    # The loaded model is the best.
    trained = load(tmp_path / "run")
    assert params_sha256(trained.params, trained.batch_stats) == straight["params_sha256"]
    # Stopped and resumed, it stops at the same epoch with the same best.
    for calls in (5 * best - 1, 5 * best, 5 * best + 2):
        workdir = tmp_path / f"resumed{calls}"
        with pytest.raises(Interrupted):
            fit(it, workdir, signalled=after(calls))
        resumed = fit(it, workdir, resume=True).record
        for name in ("epochs", "best_epoch", "val_accuracy", "test_accuracy", "params_sha256"):
            assert resumed[name] == result[name], name


# --- what the user gets wrong -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batch_size": 1295}, ["--batch-size 1295", "1294"]),
        ({"data": "mnist"}, ["mnist", "digits"]),
        ({"validation": 1437}, ["1437"]),
        ({"data": "cifar10", "data_dir": "nowhere"}, ["nowhere"]),
        ({"model": models.CNN(features=(2,) * 6)}, ["--features", "5"]),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path, changes, said):
    with pytest.raises(UserError) as caught:
        fit(dataclasses.replace(TINY, **changes), tmp_path / "run")
    assert all(word in str(caught.value) for word in said), caught.value
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


# One step an epoch: the training loss is still that of the initial parameters.
@pytest.mark.parametrize(("validation", "batch_size"), [(None, 128), (None, 1200), (0, 1200)])
def test_divergence_is_one_line(plain, tmp_path, validation, batch_size):
    it = dataclasses.replace(
        TINY, optimizer=SGD(1e30), batch_size=batch_size, validation=validation, epochs=1
    )
    with pytest.raises(UserError, match="--learning-rate"):
        fit(it, tmp_path / "run")
    assert not (tmp_path / "run" / "result.json").exists()


def test_the_number_of_classes_is_the_datas(plain, tmp_path, monkeypatch):
    data = tiny.dataset(train=40, shape=(4, 4, 1), classes=4)
    monkeypatch.setattr(fitting, "load_data", lambda *arguments: data)
    it = dataclasses.replace(TINY, batch_size=8, epochs=1)
    result = fit(it, tmp_path / "run").record
    assert result["num_params"] == 16 * 8 + 8 + 8 * 4 + 4
    assert load(tmp_path / "run").predict(data.images[:2]).shape == (2, 4)
    assert fit(it, tmp_path / "run").record == result


# --- schedules, precision, loading --------------------------------------------------------------


def test_the_learning_rate_of_each_epoch_is_told(plain, tmp_path):
    it = dataclasses.replace(TINY, schedule=WarmupCosine(1.0), optimizer=Adam(0.01))
    fit(it, tmp_path / "run")
    # Of the epoch's last step.
    told = [line["learning_rate"] for line in metrics_of(tmp_path / "run")]
    falling = [0.005 * (1 + math.cos(math.pi * (s - STEPS) / (2 * STEPS))) for s in (19, 29)]
    assert told == pytest.approx([0.01, *falling], rel=1e-4)


def test_float64_trains_and_predicts_in_float64(plain, tmp_path):
    data = load_data("digits")
    result = fit(dataclasses.replace(TINY, precision="float64", epochs=1), tmp_path / "run").record
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trained = load(tmp_path / "run")
        probabilities = trained.predict(data.images[data.test])
    assert probabilities.dtype == np.float64
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-14)
    assert (probabilities.argmax(axis=1) == data.labels[data.test]).mean() == pytest.approx(
        result["test_accuracy"]
    )


def test_loading_what_is_not_there_is_one_line(tmp_path, whole):
    with pytest.raises(UserError, match="no such file"):
        load(tmp_path / "nowhere")
    (tmp_path / "experiment.json").write_bytes((whole / "experiment.json").read_bytes())
    with pytest.raises(UserError, match="no checkpoint"):
        load(tmp_path)


def test_histograms_and_pictures_at_most_twenty_times(plain, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(
        journal.EventWriter, "histograms", lambda self, step, tree: written.append(step)
    )
    saved = []
    save = checkpoints.save
    monkeypatch.setattr(checkpoints, "save", lambda *a: (saved.append(1), save(*a))[1])
    it = dataclasses.replace(TINY, epochs=45)
    fit(it, tmp_path / "run")
    assert 1 <= len(written) <= 20
    assert written[-1] == 45 * STEPS
    assert len(saved) <= 45


# --- parts of epochs, views of test images --------------------------------------------------------


def test_a_part_of_an_epoch_ends_the_run(plain, tmp_path):
    it = dataclasses.replace(TINY, epochs=1.45, schedule=WarmupLinear())
    total = math.ceil(1.45 * STEPS)
    result = fit(it, tmp_path / "run").record
    assert (result["epochs"], result["best_epoch"]) in ((1.45, 1), (1.45, 2))
    lines = metrics_of(tmp_path / "run")
    assert [line["step"] for line in lines] == [STEPS, total]
    # The share of all steps that is left before the last.
    assert lines[-1]["learning_rate"] == pytest.approx(TINY.optimizer.learning_rate / total)
    assert list((tmp_path / "run" / "checkpoints").glob(f"step-*{total}.msgpack"))
    # Stopped before the part, and after its last step before there was a result.
    for calls in (4, 5):
        workdir = tmp_path / str(calls)
        with pytest.raises(Interrupted):
            fit(it, workdir, signalled=after(calls))
        again = fit(it, workdir, resume=True).record
        assert again["params_sha256"] == result["params_sha256"]
        assert again["resumed_from_steps"]
        assert [line["step"] for line in metrics_of(workdir)] == [STEPS, total]


def test_a_run_that_ended_within_an_epoch_is_trained_on(whole, plain, many_chunks, tmp_path):
    short = dataclasses.replace(TINY, epochs=1.45)
    fit(short, tmp_path / "run")
    result = fit(TINY, tmp_path / "run", resume=True).record
    expected = read_json(whole / "result.json")
    assert result["resumed_from_steps"] == [math.ceil(1.45 * STEPS)]
    for name in ("params_sha256", "test_accuracy", "val_accuracy", "epochs"):
        assert result[name] == expected[name], name
    assert what_counts(tmp_path / "run") == what_counts(whole)
    assert all(line["seconds"] > 0 for line in metrics_of(tmp_path / "run"))


def test_what_was_best_within_an_epoch_is_forgotten_where_a_longer_run_goes_on(
    whole, plain, tmp_path, monkeypatch
):
    as_it_is = Run.validated

    def all_right_in_the_end(self, state):
        perfect = {"loss": np.float32(0), "correct": np.int32(1), "count": np.int32(1)}
        return perfect if int(state.step) > STEPS else as_it_is(self, state)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "validated", all_right_in_the_end)
        short = fit(dataclasses.replace(TINY, epochs=1.45), tmp_path / "run").record
    assert (short["best_epoch"], short["val_accuracy"]) == (2, 1.0)
    result = fit(TINY, tmp_path / "run", resume=True).record
    assert result["best_epoch"] == read_json(whole / "result.json")["best_epoch"]
    assert what_counts(tmp_path / "run") == what_counts(whole)
    saved = checkpoints.restore(tmp_path / "run" / "checkpoints")
    assert saved is not None
    assert saved.best is not None
    assert saved.best.score < 1


def test_what_was_best_within_an_epoch_stops_no_longer_run(whole, tmp_path):
    short = to_json(dataclasses.replace(TINY, epochs=1.45, patience=2))
    write_json(tmp_path / "run" / "experiment.json", short)
    with pytest.raises(UserError, match=r"--patience and --epochs 1\.45, a part of an epoch"):
        fit(dataclasses.replace(TINY, patience=2), tmp_path / "run", resume=True)


def test_the_test_images_are_seen_from_several_sides(plain, tmp_path):
    it = dataclasses.replace(TINY, epochs=1, views="mirror_shift", validation=0)
    result = fit(it, tmp_path / "run").record
    once = fit(dataclasses.replace(it, views="plain"), tmp_path / "plain").record
    assert result["test_accuracy_plain"] == once["test_accuracy"]
    assert result["params_sha256"] == once["params_sha256"]
    assert "test_accuracy_plain" not in once
    # What is loaded predicts as the run was tested.
    data = load_data("digits", validation=0)
    images, labels = data.images[data.test], data.labels[data.test]
    several, one = (load(tmp_path / name).predict(images) for name in ("run", "plain"))
    for guesses, record in ((several, result), (one, once)):
        accuracy = np.mean(guesses.argmax(axis=1) == labels)
        # Rounding may decide one image otherwise.
        assert accuracy == pytest.approx(record["test_accuracy"], abs=1.5 / len(labels))
    assert np.abs(several - one).max() > 1e-3


def test_the_activations_of_a_double_precision_run_are_double_too(plain, tmp_path):
    fit(dataclasses.replace(TINY, epochs=1, precision="float64"), tmp_path / "run")
    trained = load(tmp_path / "run")
    images = load_data("digits").images[:3]
    *_, last = trained.intermediates(images).values()
    assert last.dtype == np.float64
    assert np.array_equal(np.asarray(last), np.asarray(trained.outputs(images)))
