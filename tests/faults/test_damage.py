"""A byte flipped or a file cut anywhere: noticed, in one line, and never a wrong resume."""

import dataclasses
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jaxcv import Experiment, checkpoints, models
from jaxcv.checkpoints import Checkpoint
from jaxcv.course import Best
from jaxcv.data import load
from jaxcv.data.dataset import Dataset
from jaxcv.errors import UserError
from jaxcv.experiment_json import to_json
from jaxcv.optimizers import Adam
from jaxcv.programs import prepare
from jaxcv.runtime import versions
from tests import cifar10_files, tiny
from tests.faults.ends import by_tier, ended

EXPERIMENT = Experiment(model=models.Softmax(num_classes=4), optimizer=Adam(), batch_size=8)


def damaged(content: bytes, rng: np.random.Generator, cut: bool) -> bytes:
    """Cut, or one byte changed: anywhere, or at either end, where headers and indices are."""
    size = len(content)
    low, high = ((0, size), (0, min(size, 600)), (max(0, size - 600), size))[rng.integers(3)]
    position = int(rng.integers(low, high))
    if cut:
        return content[:position]
    changed = content[position] ^ int(rng.integers(1, 256))
    return content[:position] + bytes([changed]) + content[position + 1 :]


@pytest.mark.parametrize(("seed", "cases"), by_tier(20, 100, 500))
def test_every_damaged_checkpoint_is_noticed(tmp_path, seed, cases):
    fresh = prepare(EXPERIMENT, tiny.dataset()).initial_state(3)

    def saved(step: int) -> Path:
        state = fresh._replace(step=np.int32(step))
        best = Best(1, 0.5, state.params, state.batch_stats)
        facts = {"image_shape": [4, 5, 3]}
        made_by = (facts, versions())
        return checkpoints.save(
            tmp_path, Checkpoint(to_json(EXPERIMENT), state, 1, 2.5, best, (), *made_by)
        )

    before, newest = saved(3), saved(5)
    whole, older = newest.read_bytes(), before.read_bytes()
    rng = np.random.default_rng(seed)
    for case in range(cases):
        newest.write_bytes(damaged(whole, rng, cut=bool(case % 2)))
        with pytest.warns(UserWarning, match="using the one before it"):
            found = checkpoints.restore(tmp_path)
        assert found is not None
        assert int(found.state.step) == 3
        before.write_bytes(damaged(older, rng, cut=bool(case // 2 % 2)))
        with pytest.raises(UserError, match=r"every checkpoint .* is damaged"):
            checkpoints.restore(tmp_path)
        before.write_bytes(older)
    newest.write_bytes(whole)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert checkpoints.restore(tmp_path) is not None


@dataclasses.dataclass(frozen=True)
class Source:
    """A small data set on the disk: what is damaged, and how it is read.

    Attributes:
        path: a file, or a directory one of whose files is damaged.
        read: loads it.
        checked: whether the form has a checksum over its images and labels.
        sized: whether it shows that it was cut, anywhere.
    """

    path: Path
    read: Callable[[], Dataset]
    checked: bool
    sized: bool = True


def cifar10(write: Callable[[Path, cifar10_files.Sample], Path], archive: bool, checked: bool):
    def made(place: Path) -> Source:
        path = write(place, cifar10_files.make_sample(20, 10))
        if archive:
            path = cifar10_files.write_archive(path, place / "archive" / "cifar.tar.gz")
        return Source(path, lambda: load("cifar10", path), checked)

    return made


def prepared(place: Path) -> Source:
    sample = cifar10_files.make_sample(20, 10)
    path = cifar10_files.write_prepared_sample(place, sample)
    # The descriptions beside the records have neither a checksum nor a fixed size.
    return Source(path, lambda: load("tfds:cifar10", place), checked=True, sized=False)


def hdf5(place: Path) -> Source:
    h5py = pytest.importorskip("h5py")
    place.mkdir()
    path = place / "patches.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.random.default_rng(0).uniform(size=(20, 3, 8, 8)).astype(np.float32)
    return Source(path, lambda: load("patches", data_file=str(path)), checked=False)


SOURCES = {
    "binary archive": cifar10(cifar10_files.write_binary_folder, archive=True, checked=True),
    "python archive": cifar10(cifar10_files.write_python_folder, archive=True, checked=True),
    "binary folder": cifar10(cifar10_files.write_binary_folder, archive=False, checked=False),
    "python folder": cifar10(cifar10_files.write_python_folder, archive=False, checked=False),
    "prepared": prepared,
    "hdf5": hdf5,
}


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize(("seed", "cases"), by_tier(2, 24, 84))  # 84 of each of six are 504
def test_damaged_data_are_one_line_or_the_same_data(kind, tmp_path, record_property, seed, cases):
    source = SOURCES[kind](tmp_path / "data")
    whole = source.read()
    rng = np.random.default_rng([seed, *kind.encode()])
    files = sorted(source.path.iterdir()) if source.path.is_dir() else [source.path]
    refused = 0
    for case in range(cases):
        cut = bool(case % 2)
        file = files[rng.integers(len(files))]
        content = file.read_bytes()
        file.write_bytes(damaged(content, rng, cut))
        status, lines, found = ended(lambda: source.read().check())
        file.write_bytes(content)
        assert status in (0, 2)
        assert len(lines) == (status == 2), lines
        refused += status == 2
        if status == 0 and source.checked:
            np.testing.assert_array_equal(found.images, whole.images)
            np.testing.assert_array_equal(found.labels, whole.labels)
        if status == 0 and cut:
            described = file.suffix in (".json", ".txt", ".meta")  # not what images are read from
            assert described or not source.sized, file
    record_property("refused", refused)
    np.testing.assert_array_equal(source.read().images, whole.images)
