import dataclasses
import hashlib
import os
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import serialization

from jaxcv import checkpoints, models
from jaxcv.checkpoints import Checkpoint
from jaxcv.course import Best
from jaxcv.errors import UserError
from jaxcv.experiment import Experiment
from jaxcv.experiment_json import to_json
from jaxcv.grouped import LookaheadSGD, Muon
from jaxcv.optimizers import SGD, Adam
from jaxcv.programs import prepare
from jaxcv.runtime import versions
from tests import tiny

EXPERIMENT = Experiment(
    model=models.Softmax(num_classes=4), optimizer=Adam(), batch_size=8, clip_norm=1.0
)
FACTS = {"image_shape": [4, 5, 3], "classes": ["a"], "multiplier": [0.5], "offset": [0.25]}


@pytest.fixture(scope="module")
def fresh():
    return prepare(EXPERIMENT, tiny.dataset()).initial_state(3)


def checkpoint(state, step: int, best: bool = True) -> Checkpoint:
    state = state._replace(step=np.int32(step))
    return Checkpoint(
        experiment=to_json(EXPERIMENT),
        state=state,
        epoch=1,
        seconds=2.5,
        best=Best(2, 0.75, state.params, state.batch_stats) if best else None,
        resumed_from=(4, 7),
        facts=FACTS,
        versions=versions(),
    )


def assert_equal(one, other):
    one, other = (s._replace(key=jax.random.key_data(s.key)) for s in (one, other))
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert np.asarray(a).dtype == np.asarray(b).dtype
        np.testing.assert_array_equal(a, b)


def test_a_pipe_in_place_of_a_checkpoint_is_a_damaged_one(fresh, tmp_path):
    directory = tmp_path / "checkpoints"
    checkpoints.save(directory, checkpoint(fresh, 12))
    os.mkfifo(directory / "step-0000000013.msgpack")
    with pytest.warns(UserWarning, match=r"0013.msgpack is damaged \(not a regular file\)"):
        back = checkpoints.restore(directory)
    assert back is not None
    assert back.state.step == 12


@pytest.mark.parametrize("optimizer", [LookaheadSGD(), Muon()])
def test_rules_by_groups_are_saved_whole(optimizer, tmp_path):
    model = models.Speedrun(features=(4,), num_classes=4)
    it = dataclasses.replace(EXPERIMENT, model=model, optimizer=optimizer)
    fresh = prepare(it, tiny.dataset()).initial_state(3)
    path = checkpoints.save(tmp_path / "checkpoints", checkpoint(fresh, 12))
    back = checkpoints.restore(path.parent)
    assert back is not None
    assert_equal(checkpoints.as_state(back.state, fresh), fresh._replace(step=np.int32(12)))


@pytest.mark.parametrize("best", [True, False])
def test_round_trip(fresh, tmp_path, best):
    saved = checkpoint(fresh, 12, best)
    path = checkpoints.save(tmp_path / "checkpoints", saved)
    back = checkpoints.restore(path.parent)
    assert back is not None
    assert (back.experiment, back.facts) == (saved.experiment, FACTS)
    assert back.resumed_from == (4, 7)
    assert (back.epoch, back.seconds, back.versions) == (1, 2.5, versions())
    state = checkpoints.as_state(back.state, fresh)
    assert_equal(state, saved.state)
    # The same draws follow: the key is whole.
    np.testing.assert_array_equal(
        jax.random.uniform(state.key, (3,)), jax.random.uniform(fresh.key, (3,))
    )
    if best:
        assert back.best is not None
        assert (back.best.epoch, back.best.score) == (2, 0.75)
        for a, b in zip(
            jax.tree.leaves(back.best.params), jax.tree.leaves(fresh.params), strict=True
        ):
            np.testing.assert_array_equal(a, b)
    else:
        assert back.best is None


def test_no_checkpoint_is_none(tmp_path):
    assert checkpoints.restore(tmp_path) is None
    assert checkpoints.restore(tmp_path / "nowhere") is None


def test_the_newest_two_are_kept(fresh, tmp_path):
    for step in (5, 10, 900, 10_000):
        checkpoints.save(tmp_path, checkpoint(fresh, step))
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "step-0000000900.msgpack",
        "step-0000010000.msgpack",
    ]
    back = checkpoints.restore(tmp_path)
    assert back is not None
    assert int(back.state.step) == 10_000


def test_every_damage_is_noticed(fresh, tmp_path, rng):
    path = checkpoints.save(tmp_path, checkpoint(fresh, 5))
    whole = path.read_bytes()
    positions = np.unique(np.r_[range(4), 18, 19, 82, 83, 84, rng.integers(0, len(whole), 50)])
    damaged = [
        whole[:p] + bytes([whole[p] ^ (1 << int(rng.integers(8)))]) + whole[p + 1 :]
        for p in positions
    ]
    damaged += [whole[:p] for p in (0, 1, 19, 83, 84, 85, len(whole) // 2, len(whole) - 1)]
    damaged += [whole + b"\0", b"\0" * len(whole)]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"every checkpoint .* is damaged"):
            checkpoints.restore(tmp_path)
    path.write_bytes(whole)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert checkpoints.restore(tmp_path)


def test_a_damaged_newest_gives_way_to_the_one_before(fresh, tmp_path):
    checkpoints.save(tmp_path, checkpoint(fresh, 5))
    newest = checkpoints.save(tmp_path, checkpoint(fresh, 9))
    newest.write_bytes(newest.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="step-0000000009.msgpack is damaged"):
        back = checkpoints.restore(tmp_path)
    assert back is not None
    assert int(back.state.step) == 5


def test_a_right_checksum_over_junk_is_damage_too(tmp_path):
    for document in ({}, {"best": 3}, [1], b"", {"best": None, "state": {"params": 1}}):
        write(tmp_path / "step-0000000001.msgpack", serialization.msgpack_serialize(document))
        with pytest.raises(UserError, match="damaged"):
            checkpoints.restore(tmp_path)


def write(path: Path, payload: bytes, number: int = 2) -> None:
    """A file with a right checksum."""
    first = b"jaxcv checkpoint %d\n" % number
    digest = hashlib.sha256(first + payload).hexdigest().encode()
    path.write_bytes(first + digest + b"\n" + payload)


def test_another_format_is_refused_by_name(fresh, tmp_path):
    checkpoints.save(tmp_path, checkpoint(fresh, 5))
    write(tmp_path / "step-0000000009.msgpack", b"from the future", 3)
    with pytest.raises(UserError, match="has format 3, this version of jaxcv reads format 2"):
        checkpoints.restore(tmp_path)


def test_later_files_go_and_what_cannot_go_does_no_harm(fresh, tmp_path):
    for step in (5, 7, 9):
        checkpoints.save(tmp_path, checkpoint(fresh, step))
    (tmp_path / "step-0000000010.msgpack").mkdir()
    checkpoints.save(tmp_path, checkpoint(fresh, 8))
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "step-0000000007.msgpack",
        "step-0000000008.msgpack",
        "step-0000000010.msgpack",
    ]


@pytest.mark.parametrize("part", ["params", "batch_stats"])
def test_other_best_parameters_are_refused(fresh, part):
    best = Best(1, 0.5, fresh.params, fresh.batch_stats)
    assert checkpoints.as_best(best, fresh) is best
    assert checkpoints.as_best(None, fresh) is None
    for other in ({"Dense_0": {"kernel": np.zeros(3)}}, {"x": 1}, 3):
        with pytest.raises(UserError, match="best parameters do not fit"):
            checkpoints.as_best(dataclasses.replace(best, **{part: other}), fresh)


def test_a_directory_in_a_checkpoints_place_is_passed_over(fresh, tmp_path):
    checkpoints.save(tmp_path, checkpoint(fresh, 5))
    (tmp_path / "step-0000000007.msgpack").mkdir()
    with pytest.warns(UserWarning, match="damaged"):
        assert checkpoints.restore(tmp_path)


@pytest.mark.parametrize(
    "other",
    [
        {"model": models.Softmax(num_classes=5)},
        {"model": models.MLP(features=(3,), num_classes=4)},
        {"optimizer": SGD()},
        {"clip_norm": None},
        {"precision": "float64"},
    ],
)
def test_another_experiments_checkpoint_is_refused(fresh, tmp_path, other):
    checkpoints.save(tmp_path, checkpoint(fresh, 5))
    back = checkpoints.restore(tmp_path)
    assert back is not None
    with jax.enable_x64("precision" in other):
        changed = dataclasses.replace(EXPERIMENT, **other)
        like = prepare(changed, tiny.dataset()).initial_state(0)
        with pytest.raises(UserError, match="does not fit this experiment") as caught:
            checkpoints.as_state(back.state, like)
    assert "\n" not in str(caught.value)


def test_a_failed_save_leaves_the_earlier_ones(fresh, tmp_path, monkeypatch):
    checkpoints.save(tmp_path, checkpoint(fresh, 5))

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space"):
        checkpoints.save(tmp_path, checkpoint(fresh, 9))
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["step-0000000005.msgpack"]
