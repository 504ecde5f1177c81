"""A whole sweep: what it leaves, and that it goes on where it stopped."""

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import optuna
import pytest

from jaxcv import Adam, Experiment, SparseReconstruction, UserError, cli, load, models
from jaxcv.data import load as load_data
from jaxcv.exits import Interrupted
from jaxcv.files import read_json
from jaxcv.fitting import fit
from jaxcv.logs import read_metrics
from jaxcv.results import params_sha256
from jaxcv.sweeps import records, report, trainer
from jaxcv.sweeps import sweep as module
from jaxcv.sweeps.axes import Span
from jaxcv.sweeps.plan import claim, look, make_plan, read_plan
from jaxcv.sweeps.ray_executor import Ray
from jaxcv.sweeps.study import default_url
from jaxcv.sweeps.sweep import SweepResult, sweep

TINY = Experiment(model=models.MLP((8,)), optimizer=Adam(), name="tiny", epochs=2)
AXES = {"learning_rate": [1e-3, 1e-2], "l2": [0.0, 1e-4]}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> SweepResult:
    """A finished sweep that tests look at and do not change."""
    return sweep(TINY, AXES, tmp_path_factory.mktemp("whole") / "sweep", seeds=2, verify=False)


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps draw no pictures."""
    monkeypatch.setattr(module, "write_report", lambda *arguments: None)


def sweep_again(path: Path) -> SweepResult:
    return sweep(TINY, AXES, path, seeds=2, verify=False)


def bits(result: SweepResult) -> dict[int, str]:
    return {one.trial.number: one.record["params_sha256"] for one in result.trials}


def recorded(url: str) -> list[optuna.trial.FrozenTrial]:
    (name,) = optuna.get_all_study_names(url)
    return optuna.load_study(study_name=name, storage=url).get_trials()


# --- what a sweep leaves ------------------------------------------------------------------------


def test_its_files(whole):
    names = {path.name for path in whole.workdir.iterdir()}
    assert names == {
        "sweep.json", "study.db", "trials", "results.csv", "results.json", "report.html", "figures",
    }  # fmt: skip
    assert len(list((whole.workdir / "trials").iterdir())) == 8
    for trial in (whole.workdir / "trials").iterdir():
        assert {path.name for path in trial.iterdir()} == {
            "experiment.json", "metrics.jsonl", "result.json", "parameters.msgpack",
        }  # fmt: skip


def test_the_configurations_in_order_with_all_seeds(whole):
    found = [(*one.trial.configuration.values(), one.trial.experiment.seed) for one in whole.trials]
    assert found == [(rate, l2, s) for rate in (1e-3, 1e-2) for l2 in (0.0, 1e-4) for s in (0, 1)]


def test_a_trial_is_the_lone_run_of_its_settings(whole, tmp_path):
    """What it leaves says so too: jaxcv run experiment.json gives the same bits."""
    one = whole.trials[5]
    lone = fit(one.trial.experiment, tmp_path / "lone", verify=False)
    assert lone.record["params_sha256"] == one.record["params_sha256"]
    timed = {"seconds", "compile_seconds", "images_per_second"}
    same = set(lone.record) - timed
    assert {k: one.record[k] for k in same} == {k: lone.record[k] for k in same}
    theirs = read_metrics(tmp_path / "lone" / "metrics.jsonl")
    for a, b in zip(one.lines(), theirs, strict=True):
        assert {k: v for k, v in a.items() if k not in timed} == {
            k: v for k, v in b.items() if k not in timed
        }


def test_its_models_load_and_predict_what_was_tested(whole):
    data = load_data("digits")
    images, labels = data.images[data.test], data.labels[data.test]
    for one in whole.trials:
        trained = load(one.workdir.path)
        assert params_sha256(trained.params, trained.batch_stats) == one.record["params_sha256"]
        right = np.sum(trained.predict(images).argmax(axis=1) == labels)
        # Of other batches: rounding may decide one image otherwise.
        assert abs(right - one.record["test_accuracy"] * len(labels)) < 1.5
        assert len(trained.classes) == 10


def test_the_table_of_results(whole):
    with open(whole.workdir / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["trial"]) for row in rows] == list(range(8))
    assert list(rows[0])[:5] == ["trial", "status", "learning_rate", "l2", "seed"]
    needed = {"val_accuracy", "test_accuracy", "seconds", "params_sha256", "beta1", "epochs"}
    assert needed <= set(rows[0])
    assert [row["params_sha256"] for row in rows] == list(bits(whole).values())
    results = read_json(whole.workdir / "results.json")
    assert [row["trial"] for row in results["trials"]] == list(range(8))
    summary = results["configurations"][1]
    scores = [whole.trials[i].score for i in (2, 3)]
    assert summary["configuration"] == {"learning_rate": 1e-3, "l2": 1e-4}
    assert summary["n"] == 2
    assert summary["mean"] == pytest.approx(sum(scores) / 2)
    assert summary["std"] == pytest.approx(abs(scores[0] - scores[1]) / 2**0.5)
    tests = [float(rows[i]["test_accuracy"]) for i in (2, 3)]
    assert summary["test_mean"] == pytest.approx(sum(tests) / 2)
    assert summary["test_std"] == pytest.approx(abs(tests[0] - tests[1]) / 2**0.5)


def test_the_best_is_the_first_of_the_highest(whole):
    scores = [one.score for one in whole.trials]
    assert whole.best.trial.number == scores.index(max(scores))


def test_the_study_has_every_trial_once(whole):
    found = recorded(default_url(whole.workdir))
    assert [trial.user_attrs["trial"] for trial in found] == list(range(8))
    assert [trial.value for trial in found] == [one.score for one in whole.trials]
    assert found[2].params == {"learning_rate": 1e-3, "l2": 1e-4}


def test_the_page_stands_alone_and_shows_it(whole):
    page = (whole.workdir / "report.html").read_text()
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("<img") >= 5
    assert f"{whole.best.score:.4f}" in page
    assert "mean validation accuracy" in page
    assert "mean test accuracy" in page
    one = whole.configurations[1]
    assert f"{one.test_mean:.4f} ± {one.test_std:.4f}" in page


def test_its_page_is_made_again_from_its_files_alone(whole, tmp_path, capsys):
    path = tmp_path / "s"
    shutil.copytree(whole.workdir, path, ignore=shutil.ignore_patterns("report.html", "results.*"))
    cli.entry(["report", str(path)])
    assert capsys.readouterr().out == f"{path}/report.html\n"
    assert (path / "report.html").read_bytes() == (whole.workdir / "report.html").read_bytes()


def test_the_page_of_an_unfinished_sweep_says_so(whole, tmp_path, monkeypatch):
    path = tmp_path / "s"
    shutil.copytree(whole.workdir, path)
    (path / "trials" / "00003" / "result.json").unlink()
    monkeypatch.setattr(report, "_of_trial", lambda *arguments: {})
    page = report.report_again(path).read_text()
    assert "trials that are missing: 1." in page
    assert "7 trials" in page
    shutil.rmtree(path / "trials")
    with pytest.raises(UserError, match="no trial of this sweep is finished"):
        report.report_again(path)


@pytest.mark.parametrize(
    ("axes", "how"),
    [
        (AXES | {"features": [(4,), (4, 4)], "activation": ["relu", "tanh"]}, {"seeds": 3}),
        ({"batch_size": Span(8, 64), "l2": Span(1e-5, 0.1, log=True)}, {"trials": 5}),
        ({"l2": [0, 1]}, {"trials": 2, "search": "tpe", "search_seed": 7, "pruner": "median"}),
    ],
)
def test_a_plan_is_read_as_it_was_written(axes, how, tmp_path):
    plan = make_plan(TINY, axes, **how)
    claim(tmp_path, plan)
    assert read_plan(tmp_path) == plan
    (tmp_path / "sweep.json").write_text("{}")
    with pytest.raises(UserError, match=r"sweep\.json is damaged"):
        read_plan(tmp_path)


# --- going on -----------------------------------------------------------------------------------


def test_a_finished_sweep_is_left_as_it_is(whole, capsys):
    before = {p: p.stat().st_mtime_ns for p in whole.workdir.rglob("*.*") if p.is_file()}
    # Nothing is left to do: no cluster is asked for.
    nobody = Ray("127.0.0.1:1", "auto", 1)
    again = sweep(TINY, AXES, whole.workdir, seeds=2, verify=False, executor=nobody)
    assert bits(again) == bits(whole)
    assert "is finished" in capsys.readouterr().out
    changed = [p.name for p, t in before.items() if p.stat().st_mtime_ns != t]
    assert set(changed) <= {"sweep.json", "results.csv", "results.json"}


def test_a_stopped_sweep_goes_on(whole, tmp_path, plain):
    asked = iter(range(10_000))
    with pytest.raises(Interrupted, match="goes on") as stop:
        sweep(
            TINY, AXES, tmp_path / "s", seeds=2, verify=False,
            signalled=lambda: 15 if next(asked) >= 8 else 0,
        )  # fmt: skip
    assert stop.value.status == 143
    done = {p: p.stat().st_mtime_ns for p in (tmp_path / "s").glob("trials/*/result.json")}
    assert 0 < len(done) < 8
    assert len(recorded(default_url(tmp_path / "s"))) == len(done)
    rows = read_json(tmp_path / "s" / "results.json")["trials"]
    assert {f"{row['trial']:05d}" for row in rows} == {path.parent.name for path in done}
    assert bits(sweep(TINY, AXES, tmp_path / "s", seeds=2, verify=False)) == bits(whole)
    assert {path: path.stat().st_mtime_ns for path in done} == done
    assert [t.user_attrs["trial"] for t in recorded(default_url(tmp_path / "s"))] == list(range(8))


def test_a_trial_that_the_study_missed_is_added_and_not_trained(
    whole, tmp_path, plain, monkeypatch
):
    """Killed between a trial's result and its line in the study."""
    path = tmp_path / "s"
    shutil.copytree(whole.workdir, path)
    for name in ("study.db", "results.csv", "results.json"):
        (path / name).unlink()
    shutil.rmtree(path / "trials" / "00003")
    trained = []
    write = records.write
    monkeypatch.setattr(
        records, "write", lambda p, t, *rest: trained.append(t.number) or write(p, t, *rest)
    )
    assert bits(sweep(TINY, AXES, path, seeds=2, verify=False)) == bits(whole)
    assert trained == [3]
    assert sorted(t.user_attrs["trial"] for t in recorded(default_url(path))) == list(range(8))


def test_a_search_goes_on_and_may_grow(tmp_path, plain):
    axes = {"learning_rate": Span(1e-4, 1e-1, log=True)}
    one = sweep(TINY, axes, tmp_path / "one", search="tpe", trials=3, verify=False)
    page = tmp_path / "one" / "report.html"
    page.write_text("of three trials")
    more = sweep(TINY, axes, tmp_path / "one", search="tpe", trials=5, verify=False)
    assert not page.exists(), "killed now, the next start must not take it for its own"
    at_once = sweep(TINY, axes, tmp_path / "two", search="tpe", trials=5, verify=False)
    assert bits(one).items() <= bits(more).items()
    assert bits(more) == bits(at_once)
    with pytest.raises(UserError, match="another trials"):
        sweep(TINY, axes, tmp_path / "one", search="tpe", trials=3, verify=False)


# --- what is refused ----------------------------------------------------------------------------


def test_another_sweeps_place_is_refused(whole):
    with pytest.raises(UserError, match="another l2"):
        sweep(TINY, AXES | {"l2": [0.0, 1e-3]}, whole.workdir, seeds=2, verify=False)
    with pytest.raises(UserError, match="another seeds"):
        sweep(TINY, AXES, whole.workdir, seeds=1, verify=False)


def test_files_of_another_kind_are_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="not a sweep's"):
        sweep(TINY, AXES, tmp_path, verify=False)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_what_a_kill_leaves_at_the_beginning_keeps_no_sweep_out(tmp_path):
    (tmp_path / ".sweep.json.123.tmp").write_text("{")
    plan = make_plan(TINY, AXES)
    look(tmp_path, plan)
    claim(tmp_path, plan)
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.json"]


def test_another_sweeps_study_is_refused(whole, tmp_path):
    url = default_url(whole.workdir)
    with pytest.raises(UserError, match="belongs to another"):
        sweep(TINY, {"l2": [0.0]}, tmp_path / "s", storage=url, verify=False)


@pytest.mark.parametrize("url", ["sqlite:////nowhere/at/all/x.db", "nonsense", "mysql://h/db"])
def test_a_storage_that_cannot_be_opened_is_one_line(url, tmp_path):
    with pytest.raises(UserError, match="cannot be opened") as caught:
        sweep(TINY, {"l2": [0.0]}, tmp_path / "s", storage=url, verify=False)
    assert "\n" not in str(caught.value)
    assert "Background" not in str(caught.value)
    # The place is free for another sweep, and one that was there before is still there.
    assert not (tmp_path / "s").exists()
    (tmp_path / "t").mkdir()
    with pytest.raises(UserError, match="cannot be opened"):
        sweep(TINY, {"l2": [0.0]}, tmp_path / "t", storage=url, verify=False)
    assert list((tmp_path / "t").iterdir()) == []


@pytest.mark.parametrize(
    "url", ["sqlite://me:secret@/no/file", "mysql://me:secret@h/db", "x://me:secret@h:port/db"]
)
def test_a_password_is_not_shown(url, tmp_path):
    with pytest.raises(UserError, match="cannot be opened") as caught:
        sweep(TINY, {"l2": [0.0]}, tmp_path / "s", storage=url, verify=False)
    assert "secret" not in str(caught.value)
    assert "me:***@" in str(caught.value)
    assert "Background" not in str(caught.value)


def test_few_trials_are_few_lanes(tmp_path, plain, monkeypatch):
    """Two where sixteen would go: fourteen copies would be computed for nothing."""
    real, widths = trainer.together, []

    def told(program, dataset, experiments, signalled, width, watch):
        widths.append((len(experiments), width))
        return real(program, dataset, experiments, signalled, width, watch)

    monkeypatch.setattr(trainer, "together", told)
    path = tmp_path / "s"
    sweep(TINY, {"l2": [0.0, 1e-4]}, path, lane_mode="vmap", verify=False)
    # What is left after a stop goes through the same program.
    shutil.rmtree(path / "trials" / "00001")
    sweep(TINY, {"l2": [0.0, 1e-4]}, path, lane_mode="vmap", verify=False)
    assert widths == [(2, 2), (1, 2)]


def test_a_refused_start_changes_nothing_of_the_sweep(plain, tmp_path):
    first = {"l2": [0.0, 1e-4]}
    sweep(TINY, first, tmp_path / "s", trials=1, verify=False)
    before = (tmp_path / "s" / "sweep.json").read_bytes()
    with pytest.raises(UserError, match="cannot be opened"):
        sweep(TINY, first, tmp_path / "s", trials=2, storage="sqlite:////no/x.db")
    assert (tmp_path / "s" / "sweep.json").read_bytes() == before
    assert len(sweep(TINY, first, tmp_path / "s", trials=1, verify=False).trials) == 1


def test_the_places_of_data_that_vary_are_part_of_the_sweep(plain, tmp_path):
    sweep(TINY, {"data_dir": ["a", "b"]}, tmp_path / "s", verify=False)
    with pytest.raises(UserError, match="holds a sweep with another data_dir"):
        sweep(TINY, {"data_dir": ["c", "d"]}, tmp_path / "s", verify=False)


def test_trials_with_and_without_validation_images_are_not_ranked_together(tmp_path):
    with pytest.raises(UserError, match="one ranking cannot have both; make it two sweeps"):
        sweep(TINY, {"validation": [0, 300]}, tmp_path / "s", verify=False)
    assert not (tmp_path / "s").exists()


def test_a_storage_that_takes_nothing_is_one_line(tmp_path, monkeypatch):
    """An account that may read alone: Optuna has its own name for what the database says."""

    def refused(*arguments, **more):
        raise optuna.exceptions.StorageInternalError("attempt to write a readonly database")

    monkeypatch.setattr(optuna, "create_study", refused)
    with pytest.raises(UserError, match="cannot be opened: attempt to write"):
        sweep(TINY, {"l2": [0.0]}, tmp_path / "s", verify=False)
    assert not (tmp_path / "s" / "trials").exists()


def test_zero_from_python_and_from_the_command_line_are_the_same_sweep(tmp_path, plain):
    sweep(TINY, {"l2": [0]}, tmp_path / "s", verify=False)
    sweep(TINY, {"l2": [0.0]}, tmp_path / "s", verify=False)


@pytest.mark.parametrize(
    ("field", "value"),
    [("status", "fine"), ("seconds", None), ("test_accuracy", None), ("val_accuracy", "high")],
)
def test_a_damaged_result_of_a_trial_is_one_line(field, value, whole, tmp_path):
    path = tmp_path / "s"
    shutil.copytree(whole.workdir, path)
    result = path / "trials" / "00003" / "result.json"
    whole_record = read_json(result)
    without = {name: v for name, v in whole_record.items() if name != field}
    for damaged in (whole_record | {field: value}, without):
        result.write_text(json.dumps(damaged))
        for again in (sweep_again, report.report_again):
            with pytest.raises(UserError, match=f"00003.*is damaged: its {field}; delete it"):
                again(path)


def test_what_lies_beside_the_trials_is_none_of_them(whole, tmp_path, monkeypatch):
    path = tmp_path / "s"
    shutil.copytree(whole.workdir, path)
    shutil.copytree(path / "trials" / "00003", path / "trials" / "00003.bak")
    monkeypatch.setattr(report, "_of_trial", lambda *arguments: {})
    assert "8 trials" in report.report_again(path).read_text()


def test_a_killed_writers_leftovers_go_with_the_next_result(whole, tmp_path, plain):
    path = tmp_path / "s"
    shutil.copytree(whole.workdir, path)
    place = path / "trials" / "00003"
    (place / "result.json").rename(place / ".result.json.123.tmp")
    sweep(TINY, AXES, path, seeds=2, verify=False)
    assert {p.name for p in place.iterdir()} == {
        "experiment.json", "metrics.jsonl", "result.json", "parameters.msgpack",
    }  # fmt: skip


def test_a_damaged_study_is_one_line(tmp_path):
    (tmp_path / "study.db").write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 20)
    url = f"sqlite:///{tmp_path / 'study.db'}"
    with pytest.raises(UserError, match="cannot be opened"):
        sweep(TINY, {"l2": [0.0]}, tmp_path / "s", storage=url, verify=False)


def test_data_that_are_not_there_leave_no_workdir(tmp_path):
    elsewhere = dataclasses.replace(TINY, data="cifar10", data_dir=str(tmp_path / "none"))
    with pytest.raises(UserError):
        sweep(elsewhere, AXES, tmp_path / "s", verify=False)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("axes", "search", "said"),
    [
        ({"batch_size": [64, 100_000]}, {}, "--batch-size 100000 is larger"),
        ({"data": ["digits", "nope"]}, {}, "unknown data 'nope'"),
        ({"depth": [7, 8]}, {}, "--depth must be"),
        ({"patience": [None, 3], "validation": [0]}, {}, "--patience needs"),
        # Whatever it draws first, it may come to this.
        ({"batch_size": Span(16, 2000)}, {"search": "tpe", "trials": 1}, "--batch-size 2000"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_trained(axes, search, said, tmp_path):
    it = dataclasses.replace(TINY, model=models.DenseNet()) if "depth" in axes else TINY
    with pytest.raises(UserError, match=said):
        sweep(it, axes, tmp_path / "s", **search, verify=False)
    assert not (tmp_path / "s").exists()


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(records, "write_bytes", full)
    with pytest.raises(UserError, match="No space left"):
        sweep(TINY, AXES, tmp_path / "s", verify=False)


@pytest.mark.parametrize("wrong", [{"seeds": 0}, {"trials": 0}, {"search_seed": -1}, {"lanes": 0}])
def test_what_python_code_says_is_checked_as_flags_are(wrong):
    with pytest.raises(UserError, match=f"{next(iter(wrong)).replace('_', '-')} must be"):
        sweep(TINY, {"l2": Span(0.0, 1.0)}, Path("s"), **({"trials": 1} | wrong), verify=False)
    assert not Path("s").exists()


def test_seeds_begin_with_the_experiments_own():
    assert make_plan(TINY, {}, seeds=3).seeds == (0, 1, 2)
    assert make_plan(dataclasses.replace(TINY, seed=5), {}, seeds=3).seeds == (5, 6, 7)
    assert make_plan(dataclasses.replace(TINY, seed=5), {}).seeds == (5,)


def test_more_trials_than_configurations_are_refused():
    it = Experiment(model=models.Autoencoder(), loss=SparseReconstruction(), optimizer=Adam())
    axes = {"hidden": Span(1, 4), "decay": [0.0, 1e-4, 1e-3]}
    assert make_plan(it, axes, trials=12).total == 12
    with pytest.raises(UserError, match="--trials 13 is more than the 12 different"):
        make_plan(it, axes, trials=13)


def test_seeds_are_said_once():
    with pytest.raises(UserError, match="twice"):
        sweep(TINY, {"seed": [1, 2]}, Path("s"), seeds=3, verify=False)


def test_every_trial_may_diverge(tmp_path):
    found = sweep(TINY, {"learning_rate": [1e30, 1e31]}, tmp_path / "s", verify=False)
    assert found.best is None
    assert [one.record["status"] for one in found.trials] == ["diverged", "diverged"]
    assert (tmp_path / "s" / "report.html").exists()
    assert {t.state.name for t in recorded(default_url(tmp_path / "s"))} == {"FAIL"}
