"""When a run saves, what it refuses to save, and what it goes on from."""

import dataclasses
import json
import threading

import jax
import numpy as np
import pytest

from jaxcv import Experiment, checkpoints, models, saving
from jaxcv.course import Best
from jaxcv.errors import Diverged, UserError
from jaxcv.experiment_json import to_json
from jaxcv.optimizers import SGD, Adam
from jaxcv.programs import prepare
from jaxcv.saving import Saver, Standing, require_finite_state
from tests import tiny

EXPERIMENT = Experiment(model=models.Softmax(num_classes=4), optimizer=SGD(), batch_size=8)


@pytest.fixture(scope="module")
def fresh():
    return prepare(EXPERIMENT, tiny.dataset()).initial_state(3)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch):
    """Seconds that pass only when a test says so."""
    now = [1000.0]
    monkeypatch.setattr(saving.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def saver(tmp_path, clock):
    made = saver_in(tmp_path)
    yield made
    made.close()


def saver_in(place, experiment=EXPERIMENT, **settings) -> Saver:
    return Saver(place / "c", place / "metrics.jsonl", to_json(experiment), {}, **settings)


def at(state, step: int, epoch: int = 0, **more) -> Standing:
    return Standing(state._replace(step=np.int32(step)), epoch, **more)


def steps(place) -> list[int]:
    return sorted(int(path.stem.split("-")[1]) for path in (place / "c").glob("step-*"))


def written(saver: Saver) -> None:
    """Waits for what is being written."""
    saver._finish()


def test_between_chunks_only_after_so_many_minutes(fresh, tmp_path, clock, saver):
    saver.minutes = 2.0
    saver.chunk(at(fresh, 1))
    written(saver)
    assert steps(tmp_path) == []
    clock[0] += 121
    saver.chunk(at(fresh, 2))
    written(saver)
    clock[0] += 60
    saver.chunk(at(fresh, 3))
    written(saver)
    assert steps(tmp_path) == [2]


def test_the_first_epoch_and_then_at_most_one_a_second(fresh, tmp_path, clock, saver):
    saver.epoch(at(fresh, 1, 1))
    written(saver)
    clock[0] += 0.5
    saver.epoch(at(fresh, 2, 2))
    written(saver)
    assert steps(tmp_path) == [1]
    clock[0] += 0.6
    saver.epoch(at(fresh, 3, 3))
    written(saver)
    assert steps(tmp_path) == [1, 3]


def test_a_slow_disk_never_makes_training_wait(fresh, tmp_path, clock, saver, monkeypatch):
    gate, save = threading.Event(), checkpoints.save
    monkeypatch.setattr(checkpoints, "save", lambda *a: (gate.wait(60), save(*a))[1])
    saver.epoch(at(fresh, 1, 1))
    clock[0] += 5
    saver.epoch(at(fresh, 2, 2))  # returns at once: the first is still being written
    gate.set()
    written(saver)
    assert steps(tmp_path) == [1]
    saver.save(at(fresh, 2, 2))
    assert steps(tmp_path) == [1, 2]


def test_what_is_saved_is_not_saved_again(fresh, saver, monkeypatch):
    times, save = [], checkpoints.save
    monkeypatch.setattr(checkpoints, "save", lambda *a: (times.append(1), save(*a))[1])
    for _ in range(3):
        saver.save(at(fresh, 4, 1))
    assert len(times) == 1
    saver.save(at(fresh, 4, 2))  # the same step, its epoch's evaluation done
    assert len(times) == 2


def test_a_failed_write_is_told_at_the_next_occasion(fresh, clock, saver, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "save", full)
    saver.epoch(at(fresh, 1, 1))
    with pytest.raises(OSError, match="No space"):
        saver.save(at(fresh, 2, 1))


def test_one_that_does_not_write_leaves_nothing(fresh, tmp_path, clock):
    saver = saver_in(tmp_path, writes=False)
    saver.save(at(fresh, 1, 1))
    saver.close()
    assert not (tmp_path / "c").exists()


def test_the_standing_comes_back_with_the_steps_it_was_resumed_from(fresh, tmp_path, saver):
    best = Best(1, 0.5, jax.device_get(fresh.params), jax.device_get(fresh.batch_stats))
    saver.save(at(fresh, 7, 1, seconds=2.5, best=best))
    second = saver_in(tmp_path)
    begun = second.restore(fresh)
    assert (int(begun.state.step), begun.epoch, begun.seconds) == (7, 1, 2.5)
    assert begun.best is not None
    assert begun.best.score == 0.5
    assert second.resumed_from == (7,)
    second.save(at(begun.state, 9, 2))
    third = saver_in(tmp_path)
    third.restore(fresh)
    assert third.resumed_from == (7, 9)
    assert int(third.newest(fresh).state.step) == 9
    assert third.resumed_from == (7, 9)  # a look is no resumption
    second.close()
    third.close()


def test_with_no_checkpoint_it_starts_afresh(fresh, saver):
    begun = saver.restore(fresh)
    assert begun.state is fresh
    assert (begun.epoch, saver.resumed_from) == (0, ())


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 9}, "seed"),
        ({"optimizer": Adam()}, r"optimizer \('SGD', here 'Adam'\)"),
        ({"optimizer": SGD(0.5)}, "learning_rate"),
        ({"epochs": 1}, "epochs"),
    ],
)
def test_another_experiments_checkpoint_names_what_differs(fresh, tmp_path, saver, changes, named):
    saver.save(at(fresh, 3, 1))
    other = saver_in(tmp_path, dataclasses.replace(EXPERIMENT, **changes))
    with pytest.raises(UserError, match=f"another .*{named}"):
        other.restore(fresh)
    other.close()


def test_more_epochs_of_the_same_are_no_difference(fresh, tmp_path, saver):
    saver.save(at(fresh, 3, 1))
    longer = saver_in(tmp_path, dataclasses.replace(EXPERIMENT, epochs=EXPERIMENT.epochs + 5))
    assert int(longer.restore(fresh).state.step) == 3
    longer.close()


def test_other_versions_are_refused_by_name(fresh, tmp_path, saver, monkeypatch):
    saver.save(at(fresh, 3, 1))
    now = saving.versions()
    monkeypatch.setattr(saving, "versions", lambda: now | {"jaxlib": "9.9.9", "python": "4"})
    with pytest.raises(UserError, match=r"made with jaxlib .* \(here 9\.9\.9\)"):
        saver.restore(fresh)


def test_lines_reach_the_disk_before_the_checkpoint_that_counts_on_them(
    fresh, tmp_path, saver, monkeypatch
):
    order, save = [], checkpoints.save
    monkeypatch.setattr(saving, "sync", lambda path: order.append(path.name))
    monkeypatch.setattr(checkpoints, "save", lambda *a: (order.append("saved"), save(*a))[1])
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"epoch": 1}) + "\n")
    saver.save(at(fresh, 3, 1))
    assert order == ["metrics.jsonl", tmp_path.name, "saved"]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_state_that_is_not_finite_is_not_saved(fresh, tmp_path, saver, bad):
    host = jax.device_get(fresh._replace(key=np.uint32(0)))
    require_finite_state(host)
    params = jax.tree.map(lambda leaf: np.full_like(leaf, bad), host.params)
    with pytest.raises(Diverged, match="step 6"):
        saver.save(at(fresh._replace(params=params), 6, 1))
    assert steps(tmp_path) == []
