import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxcv.data import load
from jaxcv.errors import UserError
from tests.cifar10_files import write_prepared

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (30, 9, 7, 1), np.uint8)
LABELS = np.arange(30) % 3
CLASSES = ("cat", "dog", "owl")
SPLITS = {"train": (GREY[:20], LABELS[:20]), "test": (GREY[20:], LABELS[20:])}


def write_toy(root: Path, splits=SPLITS, **changes) -> Path:
    arguments = {"name": "toy", "version": "1.0.0", "classes": CLASSES, "shape": (9, 7, 1)}
    return write_prepared(root, splits, **{**arguments, **changes})


def records(directory: Path, split: str = "train") -> Path:
    return next(directory.glob(f"*-{split}.array_record-*"))


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_any_set_of_one_size_is_read_in_its_order(channels, shards, tmp_path):
    images = RNG.integers(0, 256, (30, 9, 7, channels), np.uint8)
    splits = {"train": (images[:20], LABELS[:20]), "test": (images[20:], LABELS[20:])}
    write_toy(tmp_path, splits, shape=(9, 7, channels), shards=shards)
    toy = load("tfds:toy", tmp_path).check()
    assert np.array_equal(toy.images, images)
    assert np.array_equal(toy.labels, LABELS)
    assert toy.name == "tfds:toy"
    assert toy.classes == CLASSES
    assert toy.image_shape == (9, 7, channels)
    assert (len(toy.train), len(toy.validation), toy.test.tolist()) == (18, 2, [*range(20, 30)])


def test_configurations_and_versions_are_told_apart(tmp_path):
    for config, value in [("a", 1), ("b", 2)]:
        for version in ("1.0.0", "1.1.0"):
            images = np.full((30, 9, 7, 1), 10 * value + int(version[2]), np.uint8)
            splits = {"train": (images[:20], LABELS[:20]), "test": (images[20:], LABELS[20:])}
            write_toy(tmp_path, splits, config=config, version=version)
    found = [
        load(f"tfds:{name}", tmp_path).images[0, 0, 0, 0]
        for name in ("toy/a", "toy/a:1.0.0", "toy/b", "toy/b:1.1.0")
    ]
    assert found == [11, 10, 21, 21]
    with pytest.raises(UserError, match=r"several configurations .* tfds:toy/a, tfds:toy/b"):
        load("tfds:toy", tmp_path)


def test_validation_stands_in_for_a_missing_test_split(tmp_path):
    write_toy(tmp_path, {"train": SPLITS["train"], "validation": SPLITS["test"]})
    assert load("tfds:toy", tmp_path).test.tolist() == [*range(20, 30)]


def test_sizes_may_be_left_open_if_all_are_the_same(tmp_path):
    write_toy(tmp_path, shape=(None, None, 1))
    assert load("tfds:toy", tmp_path).image_shape == (9, 7, 1)


@pytest.mark.parametrize("other", [0, 1])
def test_mixed_sizes_are_refused(other, tmp_path):
    parts = [list(images) for images, _ in SPLITS.values()]
    parts[other] = [image[:5] if index else image for index, image in enumerate(parts[other])]
    splits = dict(zip(SPLITS, zip(parts, [LABELS[:20], LABELS[20:]], strict=True), strict=True))
    write_toy(tmp_path, splits, shape=(None, None, 1))
    with pytest.raises(UserError, match=r"mixed sizes, \(9, 7, 1\) and \(5, 7, 1\) \(record 1 of"):
        load("tfds:toy", tmp_path)


def test_mixed_sizes_of_two_splits_are_refused(tmp_path):
    splits = {"train": SPLITS["train"], "test": (GREY[20:, :4], LABELS[20:])}
    write_toy(tmp_path, splits, shape=(None, None, 1))
    with pytest.raises(UserError, match=r"mixed sizes, \(9, 7, 1\) in train and \(4, 7, 1\) in"):
        load("tfds:toy", tmp_path)


def write_large(root: Path) -> Path:
    """Write 40 records of little more than the 12,288 random bytes of an image, and no other."""
    images = RNG.integers(0, 256, (40, 64, 64, 3), np.uint8)
    splits = {"train": (images, np.arange(40) % 3), "test": (images[:4], [0, 1, 2, 0])}
    return records(write_toy(root, splits, shape=(64, 64, 3)))


def found_records(error: UserError) -> int:
    message = str(error)
    assert "40 records expected, " in message
    return int(message.split("40 records expected, ")[1].split()[0])


def test_a_truncated_record_file_is_counted(tmp_path):
    path = write_large(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:250_000])
    with pytest.raises(UserError, match=r"toy-train\..* is truncated") as caught:
        load("tfds:toy", tmp_path)
    assert found_records(caught.value) in (19, 20)
    path.write_bytes(whole[:-1000])
    with pytest.raises(UserError, match="40 records expected, 40 found, but not the index"):
        load("tfds:toy", tmp_path)
    for content in (b"", b"no records" * 10_000):
        path.write_bytes(content)
        with pytest.raises(UserError, match="40 records expected, 0 found"):
            load("tfds:toy", tmp_path)
    path.unlink()
    with pytest.raises(UserError, match="is missing; 40 records expected, 0 found"):
        load("tfds:toy", tmp_path)


def test_another_number_of_records_than_stated_is_refused(tmp_path):
    first = write_toy(tmp_path / "first")
    path = records(first)
    second = write_toy(tmp_path / "second", {**SPLITS, "train": (GREY[:15], LABELS[:15])})
    path.write_bytes(records(second).read_bytes())
    with pytest.raises(UserError, match="20 records expected, 15 found"):
        load("tfds:toy", tmp_path / "first")


def test_a_damaged_record_is_found(tmp_path):
    path = write_large(tmp_path)
    content = bytearray(path.read_bytes())
    content[250_000:250_050] = bytes(50)
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a record file of train .* is damaged") as caught:
        load("tfds:toy", tmp_path)
    assert found_records(caught.value) in (19, 20)


@pytest.mark.parametrize("label", [3, -1])
def test_a_label_out_of_range_is_refused(label, tmp_path):
    labels = LABELS[:20].copy()
    labels[7] = label
    write_toy(tmp_path, {**SPLITS, "train": (GREY[:20], labels)})
    with pytest.raises(UserError, match=f"label {label} of record 7 of train is out of range"):
        load("tfds:toy", tmp_path)


def test_sets_of_another_kind_are_refused(tmp_path):
    bounding_box = {
        "box": {
            "pythonClassName": "tensorflow_datasets.core.features.class_label_feature.ClassLabel",
            "classLabel": {"numClasses": "4"},
        }
    }
    write_toy(tmp_path / "labels", features=bounding_box)
    with pytest.raises(UserError, match=r"one image and one class label .* has 1 and 2"):
        load("tfds:toy", tmp_path / "labels")
    write_toy(tmp_path / "splits", {"train": SPLITS["train"]})
    with pytest.raises(UserError, match="has the splits train; train, and test or validation, are"):
        load("tfds:toy", tmp_path / "splits")
    write_toy(tmp_path / "empty", {**SPLITS, "test": ([], [])})
    with pytest.raises(UserError, match="the split test holds no record"):
        load("tfds:toy", tmp_path / "empty")
    write_toy(tmp_path / "two channels", shape=(9, 7, 2))
    with pytest.raises(UserError, match="1, 3 or 4 channels of uint8 are needed; these have 2"):
        load("tfds:toy", tmp_path / "two channels")


def test_a_set_prepared_for_tensorflow_is_refused_with_what_to_do(tmp_path):
    path = write_toy(tmp_path) / "dataset_info.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "fileFormat": "tfrecord"}))
    with pytest.raises(UserError, match=r"prepared as tfrecord, .* file_format='array_record'"):
        load("tfds:toy", tmp_path)


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"splits": 3}'])
def test_damaged_descriptions_are_refused(content, name, tmp_path):
    (write_toy(tmp_path) / name).write_bytes(content)
    with pytest.raises(UserError, match=r"1\.0\.0 is no data set prepared by|are needed$"):
        load("tfds:toy", tmp_path)


def test_what_is_not_prepared_is_named_with_what_would_be_right(tmp_path):
    with pytest.raises(UserError, match=r"no file or directory .*--data-dir"):
        load("tfds:toy", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="is empty; it must be a directory that holds toy/"):
        load("tfds:toy", tmp_path / "empty")
    write_toy(tmp_path / "root")
    for name in ("mnist", "toy:2.0.0", "toy/large"):
        with pytest.raises(UserError, match=f"{name} is not prepared in .*--file_format=array_rec"):
            load(f"tfds:{name}", tmp_path / "root")
    for name in ("", "../toy", "toy/../..", "toy:1", "a b"):
        with pytest.raises(UserError, match=r"must have the form tfds:NAME\[/CONFIG\]"):
            load(f"tfds:{name}", tmp_path / "root")


def test_with_no_place_named_its_own_directory_is_looked_at(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError, match="tensorflow_datasets"):
        load("tfds:toy")
    write_toy(tmp_path / "tensorflow_datasets")
    assert len(load("tfds:toy").images) == 30


def test_reading_says_nothing_and_leaves_the_log_as_it_was(tmp_path):
    write_toy(tmp_path)
    program = (
        "import sys, pathlib; from jaxcv.data import load;"
        f"load('tfds:toy', pathlib.Path({str(tmp_path)!r})); assert 'tensorflow' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")
    load("tfds:toy", tmp_path)
    assert not logging.getLogger("absl").disabled
