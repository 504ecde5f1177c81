import os
from pathlib import Path

import numpy as np
import pytest

from jaxcv.data import cifar10, load
from jaxcv.data.cifar10_batches import BINARY, PYTHON
from jaxcv.data.dataset import Dataset, Records
from jaxcv.data.prepared import find_prepared
from jaxcv.errors import UserError
from tests.cifar10_files import (
    make_sample,
    write_archive,
    write_binary_folder,
    write_prepared,
    write_prepared_sample,
    write_python_folder,
)

# Read before the fixture of this directory hides it.
REAL = os.environ.get("TFDS_DATA_DIR")
SAMPLE = make_sample(100, 20)


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, Path]:
    """The same images in every form and place."""
    binary = write_binary_folder(tmp_path / "binary", SAMPLE)
    python = write_python_folder(tmp_path / "python", SAMPLE)
    archive = write_archive(binary, tmp_path / "archive" / BINARY.archive)
    pickled = write_archive(python, tmp_path / "python archive" / PYTHON.archive)
    write_prepared_sample(tmp_path / "prepared", SAMPLE)
    return {
        "prepared": tmp_path / "prepared",
        "binary archive": archive,
        "binary archive's directory": archive.parent,
        "binary folder": binary,
        "binary folder's parent": binary.parent,
        "python archive": pickled,
        "python archive's directory": pickled.parent,
        "python folder": python,
        "python folder's parent": python.parent,
        "python 3 folder": write_python_folder(tmp_path / "python 3", SAMPLE, 5),
    }


def equal(first: Dataset, second: Dataset) -> bool:
    return first.classes == second.classes and all(
        np.array_equal(getattr(first, name), getattr(second, name))
        for name in ("images", "labels", "train", "validation", "test")
    )


def test_every_source_gives_the_identical_dataset(sources):
    loaded = {name: load("cifar10", place, 3).check() for name, place in sources.items()}
    first = loaded["prepared"]
    assert all(equal(dataset, first) for dataset in loaded.values())
    assert (len(first.train), len(first.validation), len(first.test)) == (90, 10, 20)
    assert first.name == "cifar10"
    assert first.classes[3] == "cat"
    # From the cache as well.
    assert equal(load("cifar10", sources["binary archive"], 3), first)


def test_the_images_are_the_ones_written_and_keep_their_labels(sources):
    loaded = load("cifar10", sources["binary folder"], validation=0)

    def content(images: np.ndarray, labels: np.ndarray) -> list[tuple[bytes, int]]:
        return sorted((image.tobytes(), int(label)) for image, label in zip(images, labels))  # noqa: B905

    assert content(loaded.images[loaded.train], loaded.labels[loaded.train]) == content(
        SAMPLE.train_images, SAMPLE.train_labels
    )
    assert content(loaded.images[loaded.test], loaded.labels[loaded.test]) == content(
        SAMPLE.test_images, SAMPLE.test_labels
    )


def test_the_canonical_order_forgets_the_order_it_got():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 2, (60, 32, 32, 3), np.uint8)
    images[5], images[50] = images[6], images[51]
    labels = rng.integers(0, 10, 60).astype(np.int32)
    shuffled = np.concatenate([rng.permutation(40), 40 + rng.permutation(20)])
    first = cifar10.canonical(Records(images, labels, 40, ()))
    second = cifar10.canonical(Records(images[shuffled], labels[shuffled], 40, ()))
    assert np.array_equal(first.images, second.images)
    assert np.array_equal(first.labels, second.labels)
    assert first.pool == second.pool == 40
    assert first.classes[0] == "airplane"


@pytest.mark.parametrize("variable", ["JAXCV_DATA_DIR", "TFDS_DATA_DIR"])
def test_the_environment_names_the_place(variable, sources, monkeypatch):
    monkeypatch.setenv(variable, str(sources["binary archive's directory"]))
    assert len(load("cifar10").images) == 120


def test_a_named_place_is_the_only_one(sources, tmp_path, monkeypatch):
    def no_download(directory: Path) -> Path:
        raise AssertionError("nothing may be downloaded")

    monkeypatch.setattr(cifar10, "download", no_download)
    monkeypatch.setenv("TFDS_DATA_DIR", str(sources["prepared"]))
    nothing = tmp_path / "nothing"
    with pytest.raises(UserError, match=r"no file or directory .*/nothing \(--data-dir\); it must"):
        load("cifar10", nothing)
    nothing.mkdir()
    with pytest.raises(UserError, match=r"/nothing \(--data-dir\) is empty; it must be a director"):
        load("cifar10", nothing)
    (nothing / "readme").touch()
    expected = r"no CIFAR-10 in .*/nothing \(--data-dir\); it must be .*cifar10/VERSION.*" + (
        r"cifar-10-binary.tar.gz .*cifar-10-batches-bin.*cifar-10-python.tar.gz .*-batches-py"
    )
    with pytest.raises(UserError, match=expected):
        load("cifar10", nothing)
    monkeypatch.setenv("JAXCV_DATA_DIR", str(nothing))
    with pytest.raises(UserError, match=r"\(\$JAXCV_DATA_DIR\)"):
        load("cifar10")


def test_with_no_place_named_the_archive_is_downloaded_once(sources, monkeypatch):
    asked = []

    def download(directory: Path) -> Path:
        asked.append(directory)
        directory.mkdir(exist_ok=True)
        target = directory / BINARY.archive
        target.write_bytes(sources["binary archive"].read_bytes())
        return target

    monkeypatch.setattr(cifar10, "download", download)
    first, second = load("cifar10"), load("cifar10")
    assert asked == [Path(os.environ["XDG_CACHE_HOME"]) / "jaxcv"]
    assert equal(first, second)
    assert equal(first, load("cifar10", sources["prepared"]))


def test_a_malicious_batch_runs_nothing(sources, tmp_path):
    target = tmp_path / "proof"
    program = f"cos\nsystem\n(S'touch {target}'\ntR.".encode()
    (sources["python folder"] / "data_batch_1").write_bytes(program)
    with pytest.raises(UserError, match=r"data_batch_1 is no whole pickle .* os.system"):
        load("cifar10", sources["python folder"])
    assert not target.exists()


def test_damage_after_a_good_load_is_noticed(sources):
    for name, damaged in [
        ("binary archive", sources["binary archive"]),
        ("binary folder", sources["binary folder"] / "test_batch.bin"),
        ("python folder", sources["python folder"] / "data_batch_5"),
        ("prepared", next(sources["prepared"].glob("cifar10/*/*train*"))),
    ]:
        load("cifar10", sources[name])
        damaged.write_bytes(damaged.read_bytes()[:-5000])
        with pytest.raises(UserError, match=r"truncated|no whole pickle"):
            load("cifar10", sources[name])


def test_a_prepared_set_that_is_not_cifar10_is_refused(tmp_path):
    images = np.zeros((10, 8, 8, 3), np.uint8)
    splits = {"train": (images, np.arange(10)), "test": (images, np.arange(10))}
    write_prepared(tmp_path, splits, shape=(8, 8, 3))
    with pytest.raises(UserError, match=r"is not CIFAR-10: it has images of \(8, 8, 3\) in 10"):
        load("cifar10", tmp_path)


@pytest.mark.skipif(
    REAL is None or find_prepared(Path(REAL), "cifar10") is None,
    reason="TFDS_DATA_DIR has no CIFAR-10",
)
def test_the_real_images_have_their_known_statistics():
    assert REAL is not None
    real = load("cifar10", Path(REAL))
    assert (len(real.train), len(real.validation), len(real.test)) == (45_000, 5_000, 10_000)
    assert np.bincount(real.labels[:50_000]).tolist() == [5_000] * 10
    assert np.bincount(real.labels[real.test]).tolist() == [1_000] * 10
    pixels = real.images[:50_000].reshape(-1, 3) / np.float32(255)
    np.testing.assert_allclose(
        pixels.mean(0, dtype=float), (0.49140, 0.48216, 0.44653), rtol=0, atol=5e-6
    )
    np.testing.assert_allclose(
        pixels.std(0, dtype=float), (0.24703, 0.24349, 0.26159), rtol=0, atol=5e-6
    )
