"""Small files in every form CIFAR-10 and prepared data sets come in, made from random images."""

import dataclasses
import io
import json
import pickle
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


@dataclasses.dataclass(frozen=True)
class Sample:
    """Images, uint8 (n, 32, 32, 3), and labels; the number for training is a multiple of five."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def make_sample(train: int = 100, test: int = 20, seed: int = 0) -> Sample:
    """Make random images and labels; every class is there if there are ten or more."""
    rng = np.random.default_rng(seed)

    def images(count: int) -> np.ndarray:
        return rng.integers(0, 256, (count, 32, 32, 3), np.uint8)

    def labels(count: int) -> np.ndarray:
        return rng.permutation(np.arange(count) % 10)

    return Sample(images(train), labels(train), images(test), labels(test))


def write_binary_folder(parent: Path, sample: Sample) -> Path:
    """Write cifar-10-batches-bin/ into a directory."""
    folder = parent / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for name, images, labels in _batches(sample):
        records = np.concatenate([labels[:, None].astype(np.uint8), _rows(images)], axis=1)
        (folder / f"{name}.bin").write_bytes(records.tobytes())
    (folder / "batches.meta.txt").write_text("\n".join(CLASSES) + "\n")
    return folder


def write_python_folder(parent: Path, sample: Sample, protocol: int | None = None) -> Path:
    """Write cifar-10-batches-py/ into a directory: as Python 2 did, or with a protocol of ours."""
    folder = parent / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name, images, labels in _batches(sample):
        batch = {
            "batch_label": name,
            "labels": [int(label) for label in labels],
            "data": _rows(images),
            "filenames": [f"{index}.png" for index in range(len(labels))],
        }
        data = python2_pickle(batch) if protocol is None else pickle.dumps(batch, protocol)
        (folder / name).write_bytes(data)
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": CLASSES}, 2))
    return folder


def write_archive(folder: Path, path: Path) -> Path:
    """Pack a folder as the official archives are packed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, folder.name)
    return path


def write_prepared_sample(root: Path, sample: Sample) -> Path:
    """Write cifar10/3.0.2/ as tensorflow-datasets prepares it, its records in another order."""
    order = np.random.default_rng(1).permutation(len(sample.train_images))
    return write_prepared(
        root,
        {
            "train": (sample.train_images[order], sample.train_labels[order]),
            "test": (sample.test_images, sample.test_labels),
        },
    )


def write_prepared(
    root: Path,
    splits: Mapping[str, tuple[Sequence[np.ndarray] | np.ndarray, Sequence[int] | np.ndarray]],
    *,
    name: str = "cifar10",
    config: str | None = None,
    version: str = "3.0.2",
    classes: Sequence[str] = CLASSES,
    shape: Sequence[int | None] = (32, 32, 3),
    shards: int = 1,
    features: Mapping[str, Any] | None = None,
) -> Path:
    """Write a data set as tensorflow-datasets prepares it, without TensorFlow.

    Args:
        root: The directory of prepared data sets.
        splits: Images, uint8 (height, width, channels), and labels of each split.
        name: The data set's name.
        config: Its configuration, if any.
        version: Its version.
        classes: The names of its classes.
        shape: The shape features.json states; None where sizes differ.
        shards: How many record files a split has.
        features: More features for features.json, as their JSON.
    """
    from array_record.python import (
        array_record_module,  # pyright: ignore[reportAttributeAccessIssue]
    )

    directory = root / name / (config or "") / version
    directory.mkdir(parents=True)
    infos = []
    for split, (images, labels) in splits.items():
        records = [_example(image, int(label)) for image, label in zip(images, labels, strict=True)]
        lengths = []
        for shard, part in enumerate(np.array_split(np.arange(len(records)), shards)):
            path = directory / f"{name}-{split}.array_record-{shard:05}-of-{shards:05}"
            writer = array_record_module.ArrayRecordWriter(str(path), "group_size:1")
            for index in part:
                writer.write(records[index])
            writer.close()
            lengths.append(str(len(part)))
        infos.append(
            {
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
                "name": split,
                "numBytes": str(sum(map(len, records))),
                "shardLengths": lengths,
            }
        )
    info = {"fileFormat": "array_record", "name": name, "splits": infos, "version": version}
    if config is not None:
        info["configName"] = config
    (directory / "dataset_info.json").write_text(json.dumps(info))
    (directory / "features.json").write_text(
        json.dumps(_features(shape, len(classes), features or {}))
    )
    (directory / "label.labels.txt").write_text("\n".join(classes) + "\n")
    return directory


def python2_pickle(value: Any) -> bytes:
    """Pickle as Python 2 with NumPy 1 did: protocol 2, its `str` stored as bytes."""
    file = io.BytesIO()
    _Python2Pickler(file).dump(value)
    return file.getvalue()


# The pickler in Python, because only that one lets a subclass say how strings are written.
class _Python2Pickler(pickle._Pickler):
    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)

    def __init__(self, file: io.BytesIO):
        super().__init__(file, 2)

    def save_string(self, value: str | bytes) -> None:
        data = value.encode("latin1") if isinstance(value, str) else value
        if len(data) < 256:
            self.write(pickle.SHORT_BINSTRING + bytes([len(data)]) + data)  # type: ignore[attr-defined]
        else:
            self.write(pickle.BINSTRING + len(data).to_bytes(4, "little") + data)  # type: ignore[attr-defined]
        self.memoize(value)  # type: ignore[attr-defined]

    dispatch[str] = save_string
    dispatch[bytes] = save_string

    def save_global(self, obj: Any, name: str | None = None) -> None:
        module = obj.__module__.replace("numpy._core", "numpy.core")
        self.write(pickle.GLOBAL + f"{module}\n{obj.__name__}\n".encode())  # type: ignore[attr-defined]
        self.memoize(obj)  # type: ignore[attr-defined]

    dispatch[type] = save_global
    dispatch[type(make_sample)] = save_global


def _batches(sample: Sample) -> list[tuple[str, np.ndarray, np.ndarray]]:
    images = np.split(sample.train_images, 5)
    labels = np.split(sample.train_labels, 5)
    train = [(f"data_batch_{i + 1}", images[i], labels[i]) for i in range(5)]
    return [*train, ("test_batch", sample.test_images, sample.test_labels)]


def _rows(images: np.ndarray) -> np.ndarray:
    """One row of 3,072 an image, channel-major."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), -1)


def _example(image: np.ndarray, label: int) -> bytes:
    from tensorflow_datasets.proto import tf_example_pb2

    encoded = io.BytesIO()
    Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(encoded, "PNG")
    example = tf_example_pb2.Example()  # pyright: ignore[reportAttributeAccessIssue]
    example.features.feature["image"].bytes_list.value.append(encoded.getvalue())
    example.features.feature["label"].int64_list.value.append(label)
    return example.SerializeToString()


def _features(shape: Sequence[int | None], classes: int, more: Mapping[str, Any]) -> dict[str, Any]:
    module = "tensorflow_datasets.core.features."
    dimensions = ["-1" if size is None else str(size) for size in shape]
    return {
        "pythonClassName": module + "features_dict.FeaturesDict",
        "featuresDict": {
            "features": {
                "image": {
                    "pythonClassName": module + "image_feature.Image",
                    "image": {"shape": {"dimensions": dimensions}, "dtype": "uint8"},
                },
                "label": {
                    "pythonClassName": module + "class_label_feature.ClassLabel",
                    "classLabel": {"numClasses": str(classes)},
                },
                **more,
            }
        },
    }
