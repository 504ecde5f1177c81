"""Trials that fall behind are given up: which, and what they leave."""

import csv
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcv import Adam, Experiment, UserError, models
from jaxcv.exits import Interrupted
from jaxcv.files import read_json
from jaxcv.sweeps import sweep as module
from jaxcv.sweeps.axes import Span
from jaxcv.sweeps.executors import Local
from jaxcv.sweeps.pruning import BundlePruning, Pruner, Pruning
from jaxcv.sweeps.records import Finished, workdir_of
from jaxcv.sweeps.search import Rounds, Search, Told
from jaxcv.sweeps.study import default_url
from jaxcv.sweeps.sweep import sweep
from jaxcv.sweeps.table import Tally
from jaxcv.sweeps.trainer import Trainer
from jaxcv.sweeps.trials import Trial

PRUNERS: list[Pruner] = ["median", "halving", "hyperband"]
EPOCHS = 9
TINY = Experiment(model=models.MLP((8,)), optimizer=Adam(), name="tiny", epochs=4)
# The first learns, the others hardly: they are behind it at the first epoch.
AXES = {"learning_rate": [1e-2, 1e-5, 1e-6, 1e-7]}


class Written(Finished):
    """A finished trial whose lines are in no file."""

    def lines(self) -> list[dict[str, Any]]:
        return list(self.record["lines"])


def finished(trial: Trial, curve: Sequence[float], status: str) -> Written:
    lines = [{"epoch": e, "val_accuracy": score} for e, score in enumerate(curve, 1)]
    return Written(
        trial, workdir_of(Path("nowhere"), trial.number), {"status": status, "lines": lines}
    )


def train(
    pruner: Pruner, curves: Sequence[Sequence[float]], at_once: bool, known: Mapping[int, Finished]
) -> dict[int, Written]:
    """Lanes whose scores are given, in bundles of four; a curve that ends early diverges."""
    pruning = Pruning(pruner, EPOCHS, larger_is_better=True)
    trials = [Trial(number, {}, TINY) for number in range(len(curves))]
    pruning.begin(trials)
    found: dict[int, Written] = {}
    for start in range(0, len(trials), 4):
        bundle = trials[start : start + 4]
        mine = {t.number: known[t.number] for t in bundle if t.number in known}
        decisions = BundlePruning(pruning, bundle, mine, at_once)
        left = [t for t in bundle if t.number not in mine]
        events = [(e, t) for e in range(1, EPOCHS + 1) for t in left]
        for epoch, trial in events if at_once else sorted(events, key=lambda e: e[1].number):
            curve = curves[trial.number]
            if trial.number in found:
                continue
            if epoch > len(curve):
                found[trial.number] = finished(trial, curve, "diverged")
            elif decisions.after(trial.number, epoch, curve[epoch - 1], epoch == EPOCHS):
                found[trial.number] = finished(trial, curve[:epoch], "pruned")
            elif epoch == EPOCHS:
                found[trial.number] = finished(trial, curve, "complete")
        decisions.close()
    return found


@pytest.mark.parametrize("pruner", PRUNERS)
@pytest.mark.parametrize("at_once", [False, True])
@settings(max_examples=3)
@given(seed=st.integers(0, 1000))
def test_what_is_pruned_does_not_depend_on_where_the_sweep_was_killed(pruner, at_once, seed):
    rng = np.random.default_rng(seed)
    limits, lengths = rng.uniform(0, 1, 20), rng.choice([2, EPOCHS], 20, p=[0.1, 0.9])
    curves = [
        (limit * (1 - 0.5 ** np.arange(1, n + 1))).tolist()
        for limit, n in zip(limits, lengths, strict=True)
    ]
    whole = train(pruner, curves, at_once, {})
    assert {"complete", "pruned"} <= {one.record["status"] for one in whole.values()}
    # Bundles end one after another; of the one that is written down any lanes may be there.
    count = int(rng.integers(0, 20))
    start, done = count // 4 * 4, set(range(count))
    if at_once:
        done = {*range(start), *(start + np.flatnonzero(rng.random(4) < 0.5)).tolist()}
    again = train(pruner, curves, at_once, {n: whole[n] for n in done})
    assert {n: one.record for n, one in again.items()} == {
        n: one.record for n, one in whole.items() if n not in done
    }


@pytest.mark.parametrize("pruner", PRUNERS)
def test_the_worst_are_pruned_and_the_best_never(pruner):
    curves = [[limit] * EPOCHS for limit in np.linspace(0.9, 0.1, 17).tolist()]
    found = train(pruner, curves, False, {})
    assert found[0].record["status"] == "complete"
    # Hyperband spares those of its last bracket.
    assert "pruned" in {found[i].record["status"] for i in range(13, 17)}
    rising = train(pruner, curves[::-1], False, {})
    assert all(one.record["status"] == "complete" for one in rising.values())


class Scripted(Pruning):
    """Gives up trial 1 after its second epoch."""

    def __init__(self) -> None:
        super().__init__("none", 4, larger_is_better=True)

    def tell(self, number: int, epoch: int, score: float) -> bool:
        super().tell(number, epoch, score)
        return (number, epoch) == (1, 2)


@pytest.mark.parametrize("mode", ["map", "vmap"])
def test_a_pruned_lane_is_that_of_fewer_epochs_and_touches_no_other(mode):
    trials = [Trial(i, {}, dataclasses.replace(TINY, seed=i)) for i in range(3)]
    trainer = Trainer(mode, 3, verify=False)

    def run(pruning: Pruning | None, trials: Sequence[Trial]) -> list[dict[str, Any]]:
        ended = Local(trainer, 3, pruning).run(trials, {}, lambda: 0)
        return [outcome.record for _, outcome, _ in ended]

    whole, pruned = run(None, trials), run(Scripted(), trials)
    shorter = [t._replace(experiment=dataclasses.replace(t.experiment, epochs=2)) for t in trials]
    assert [record["status"] for record in pruned] == ["complete", "pruned", "complete"]
    assert pruned[1]["epochs"] == 2
    assert pruned[1]["params_sha256"] == run(None, shorter)[1]["params_sha256"]
    for i in (0, 2):
        assert pruned[i]["params_sha256"] == whole[i]["params_sha256"]


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "write_report", lambda *arguments: None)


def of(workdir: Path) -> dict[int, tuple[str, str]]:
    rows = read_json(workdir / "results.json")["trials"]
    return {row["trial"]: (row["status"], row["params_sha256"]) for row in rows}


@pytest.mark.parametrize("mode", ["map", pytest.param("vmap", marks=pytest.mark.every_script)])
def test_a_sweep_with_a_pruner_goes_on_and_says_what_it_pruned(mode, tmp_path, capsys, monkeypatch):
    if mode == "map":
        monkeypatch.setattr(module, "write_report", lambda *arguments: None)

    def run(name: str, signalled: Callable[[], int] = lambda: 0) -> None:
        sweep(
            TINY, AXES, tmp_path / name, pruner="halving", lane_mode=mode, lanes=2, verify=False,
            signalled=signalled,
        )  # fmt: skip

    run("whole")
    told = capsys.readouterr().out
    assert "pruned after epoch 1" in told
    assert "3 pruned" in told
    whole = of(tmp_path / "whole")
    assert [status for status, _ in whole.values()] == ["complete", "pruned", "pruned", "pruned"]
    with open(tmp_path / "whole" / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == [status for status, _ in whole.values()]
    assert all(row["val_accuracy"] and row["test_accuracy"] for row in rows)
    summary = read_json(tmp_path / "whole" / "results.json")["configurations"][1]
    assert (summary["n"], summary["mean"], summary["pruned"]) == (0, None, 1)
    if mode == "vmap":
        assert "<th>pruned</th>" in (tmp_path / "whole" / "report.html").read_text()
    study = optuna.load_study(study_name="tiny", storage=default_url(tmp_path / "whole"))
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", *["PRUNED"] * 3]
    assert [len(trial.intermediate_values) for trial in study.trials] == [4, 1, 1, 1]

    monkeypatch.setattr(module, "write_report", lambda *arguments: None)
    ended, add = [], module.Recorder.add
    monkeypatch.setattr(
        module.Recorder, "add", lambda self, *rest: ended.append(rest) or add(self, *rest)
    )
    with pytest.raises(Interrupted):
        run("stopped", lambda: 15 if len(ended) >= 2 else 0)
    done = {p: p.stat().st_mtime_ns for p in (tmp_path / "stopped").glob("trials/*/result.json")}
    assert len(done) == 2
    run("stopped")
    assert of(tmp_path / "stopped") == whole
    assert {path: path.stat().st_mtime_ns for path in done} == done


def test_another_pruner_is_another_sweep(tmp_path, plain):
    sweep(TINY, {"l2": [0.0]}, tmp_path / "s", verify=False)
    assert "pruner" not in read_json(tmp_path / "s" / "sweep.json")
    with pytest.raises(UserError, match="another pruner"):
        sweep(TINY, {"l2": [0.0]}, tmp_path / "s", pruner="median", verify=False)


def test_without_validation_images_there_is_nothing_to_prune_by(tmp_path):
    bare = dataclasses.replace(TINY, validation=0)
    with pytest.raises(UserError, match="add --validation") as caught:
        sweep(bare, AXES, tmp_path / "s", pruner="median", verify=False)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "s").exists()
    with pytest.raises(UserError, match="add --validation"):
        sweep(TINY, {"validation": [0]}, tmp_path / "s", pruner="median", verify=False)


def test_a_search_learns_that_a_trial_was_pruned():
    """Pruned trials rank behind complete ones, as Optuna has it, however good they looked."""
    axes = {"learning_rate": Span(0.0, 1.0)}

    def late(pruned: Callable[[float], bool]) -> float:
        rounds, found = Rounds(Search(axes, "tpe", 96, 0, True)), []
        while configurations := rounds.next():
            rates = [c["learning_rate"] for c in configurations]
            rounds.tell([Told(0.5, 1 if pruned(r) else None) for r in rates])
            found += rates
        return float(np.mean([r > 0.5 for r in found[-32:]]))

    # Of random draws half would be above: 0.5 ± 0.09.
    assert late(lambda rate: rate > 0.5) < 0.25
    assert math.isclose(late(lambda rate: False), late(lambda rate: False))


def test_the_tally_counts_the_pruned(capsys):
    with Tally(2, TINY.loss.score) as tally:
        trial = Trial(0, {"l2": 0.0}, TINY)
        record = {"status": "pruned", "val_accuracy": 0.25, "epochs": 2}
        tally.after(Finished(trial, workdir_of(Path("x"), 0), record), 10.0)
    out = capsys.readouterr().out
    assert "accuracy 0.2500, pruned after epoch 2" in out
    assert "1 pruned" in out
    assert "best" not in out
