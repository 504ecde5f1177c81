import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcv.data.dataset import Records
from jaxcv.data.splits import draw, stratified_sample
from jaxcv.errors import UserError

seeds = st.integers(0, 2**32)


pools = st.lists(st.integers(0, 4), min_size=1, max_size=50)
tests = st.lists(st.integers(0, 4), min_size=1, max_size=10)


def make_records(pool: list[int], test: list[int]) -> Records:
    labels = np.array(pool + test, np.int32)
    return Records(np.zeros((len(labels), 1, 1, 1), np.uint8), labels, len(pool), tuple("abcde"))


@settings(deadline=None)
@given(pools, tests, seeds, st.data())
def test_the_splits_are_a_partition_and_the_test_images_are_left_alone(pool, test, seed, more):
    data = make_records(pool, test)
    count = more.draw(st.integers(0, data.pool - 1))
    dataset = draw("toy", data, seed, count).check()
    assert len(dataset.validation) == count
    assert len(dataset.train) == data.pool - count
    assert dataset.test.tolist() == list(range(data.pool, len(data.images)))
    for split in (dataset.train, dataset.validation):
        assert np.all(np.diff(split) > 0)
        assert split.dtype == np.int32


@settings(deadline=None)
@given(pools, tests, seeds)
def test_the_same_seed_draws_the_same(pool, test, seed):
    data = make_records(pool, test)
    first, second = draw("toy", data, seed, None), draw("toy", data, seed, None)
    assert np.array_equal(first.validation, second.validation)


def test_another_seed_draws_others():
    data = Records(np.zeros((99, 1, 1, 1), np.uint8), np.arange(99, dtype=np.int32) % 3, 90, ("",))
    drawn = {tuple(draw("toy", data, seed, 30).validation.tolist()) for seed in range(10)}
    assert len(drawn) == 10


@settings(deadline=None)
@given(st.lists(st.integers(0, 6), max_size=80), seeds, st.data())
def test_every_class_keeps_its_share(labels, seed, more):
    labels = np.array(labels, np.int64)
    count = more.draw(st.integers(0, len(labels)))
    sample = stratified_sample(labels, count, np.random.default_rng(seed))
    assert len(set(sample.tolist())) == len(sample) == count
    for label in range(7):
        of_class = np.sum(labels == label)
        quota = count * of_class / max(len(labels), 1)
        assert abs(np.sum(labels[sample] == label) - quota) < 1


def test_equal_classes_are_sampled_equally():
    labels = np.repeat(np.arange(10), 500)
    sample = stratified_sample(labels, 500, np.random.default_rng(0))
    assert np.bincount(labels[sample]).tolist() == [50] * 10


def test_a_tenth_is_held_out_by_default_and_none_on_demand():
    data = Records(np.zeros((70, 1, 1, 1), np.uint8), np.zeros(70, np.int32), 59, ("",))
    assert len(draw("toy", data, 0, None).validation) == 5
    nothing = draw("toy", data, 0, 0)
    assert nothing.validation.shape == (0,)
    assert nothing.train.tolist() == list(range(59))


@pytest.mark.parametrize("count", [-1, 59, 60])
def test_a_draw_that_leaves_nothing_to_train_on_is_refused(count):
    data = Records(np.zeros((70, 1, 1, 1), np.uint8), np.zeros(70, np.int32), 59, ("",))
    with pytest.raises(UserError, match=f"validation {count} is out of range; .* 0 to 58"):
        draw("toy", data, 0, count)


def test_a_negative_seed_is_refused():
    data = Records(np.zeros((70, 1, 1, 1), np.uint8), np.zeros(70, np.int32), 59, ("",))
    with pytest.raises(UserError, match="data seed -1 is negative"):
        draw("toy", data, -1, None)
