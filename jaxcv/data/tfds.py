"""Classification sets that tensorflow-datasets prepared, read without TensorFlow."""

import contextlib
import io
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jaxcv.data.cache import Source
from jaxcv.data.dataset import Records
from jaxcv.data.places import Place, named_place
from jaxcv.data.prepared import count_whole_records, find_prepared
from jaxcv.errors import UserError

_NAME = re.compile(r"(?P<name>\w+)(?:/(?P<config>\w[\w.\-]*))?(?::(?P<version>\d+\.\d+\.\d+))?")
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_BATCH = 1024


def source(data: str, data_dir: Path | None) -> Source:
    """Find a prepared data set.

    Args:
        data: "tfds:NAME", "tfds:NAME/CONFIG", either with ":VERSION" after it.
        data_dir: The directory that holds NAME/…; None for the place the environment names, or
            tensorflow-datasets' own, ~/tensorflow_datasets.

    Raises:
        UserError: The name has another form, or nothing of that name is prepared there.
    """
    wanted = _NAME.fullmatch(data.removeprefix("tfds:"))
    if wanted is None:
        raise UserError(f"data {data!r} must have the form tfds:NAME[/CONFIG][:VERSION]")
    place = named_place(data_dir)
    if place is None:
        place = Place(Path.home() / "tensorflow_datasets", "tensorflow-datasets' own")
    name = wanted["name"]
    expected = f"a directory that holds {name}/…/dataset_info.json"
    place.require(expected)
    directory = find_prepared(place.path, name, wanted["config"], wanted["version"])
    if directory is None:
        raise UserError(
            f"{data.removeprefix('tfds:')} is not prepared in {place}, which must be {expected}; "
            f"where TensorFlow is installed, `tfds build {name} --file_format=array_record` "
            "prepares it"
        )
    return prepared_source(data, directory)


def prepared_source(name: str, directory: Path) -> Source:
    """Say how to read one prepared directory.

    Args:
        name: The data set as the user names it.
        directory: The one that holds dataset_info.json.
    """
    files = tuple(sorted(path for path in directory.iterdir() if path.is_file()))
    return Source(name=f"{name} {directory}", read=lambda: read(directory), files=files)


def read(directory: Path) -> Records:
    """Read the images and labels of a prepared directory.

    The data set must have one image and one class label an example, all images of one size, and
    the splits train and test (or validation, which then is the test split). The order is that of
    the records.

    Args:
        directory: The one that holds dataset_info.json.

    Raises:
        UserError: It is another kind of data set, or a file of it is missing, cut or damaged.
    """
    for path in sorted(directory.iterdir()):
        if not path.is_file() and not path.is_dir():  # its reader would wait, perhaps for ever
            raise UserError(f"{path} is not a regular file")
    with _quiet():
        import tensorflow_datasets as tfds

        with _described(directory):
            builder: Any = tfds.builder_from_directory(directory)
            image_key, label_key = _features(builder.info.features)
            classes = tuple(str(name) for name in builder.info.features[label_key].names)
            formats = {file_format.value for file_format in builder.info.available_file_formats()}
        if "array_record" not in formats:
            raise UserError(
                f"{directory} is prepared as {', '.join(sorted(formats)) or 'no known format'}, "
                "which needs TensorFlow; prepare it with file_format='array_record'"
            )
        available = set(builder.info.splits)
        test = "test" if "test" in available else "validation"
        if not {"train", test} <= available:
            raise UserError(
                f"{directory} has the splits {', '.join(sorted(available)) or '(none)'}; "
                "train, and test or validation, are needed"
            )
        parts = [
            _read_split(builder, split, image_key, label_key, directory)
            for split in ("train", test)
        ]
    (train_images, train_labels), (test_images, test_labels) = parts
    if train_images.shape[1:] != test_images.shape[1:]:
        raise UserError(
            f"{directory} has images of mixed sizes, {train_images.shape[1:]} in train and "
            f"{test_images.shape[1:]} in {test}; all must have one size"
        )
    return Records(
        images=np.concatenate([train_images, test_images]),
        labels=np.concatenate([train_labels, test_labels]),
        pool=len(train_images),
        classes=classes,
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what tensorflow-datasets says about itself, as warnings and in its log, to ourselves."""
    # Imported before the logger is touched: absl must be the one that makes it.
    from absl import logging

    logger = logging.get_absl_logger()
    disabled = logger.disabled
    logger.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = disabled


@contextlib.contextmanager
def _described(directory: Path) -> Iterator[None]:
    """While inside, whatever goes wrong is the fault of the directory's descriptions."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{directory}: {error}") from error
    # tensorflow-datasets parses what it finds there, some of it late, in many ways that can fail.
    except Exception as error:
        raise UserError(
            f"{directory} is no data set prepared by tensorflow-datasets: {_reason(error)}"
        ) from error


def _features(features: Any) -> tuple[str, str]:
    """Name the image and the label among a data set's features."""
    import tensorflow_datasets as tfds

    if not isinstance(features, tfds.features.FeaturesDict):
        raise UserError("an image and a class label an example are needed")
    images = [key for key, value in features.items() if type(value) is tfds.features.Image]
    labels = [key for key, value in features.items() if isinstance(value, tfds.features.ClassLabel)]
    if len(images) != 1 or len(labels) != 1:
        raise UserError(
            "one image and one class label an example are needed; "
            f"this data set has {len(images)} and {len(labels)}"
        )
    image: Any = features[images[0]]
    if image.np_dtype != np.uint8 or image.shape[-1] not in _MODES:
        raise UserError(
            "images of 1, 3 or 4 channels of uint8 are needed; "
            f"these have {image.shape[-1]} of {np.dtype(image.np_dtype)}"
        )
    return images[0], labels[0]


def _read_split(
    builder: Any, split: str, image_key: str, label_key: str, directory: Path
) -> tuple[np.ndarray, np.ndarray]:
    features = builder.info.features
    count = builder.info.splits[split].num_examples
    if not count:
        raise UserError(f"{directory}: the split {split} holds no record")
    images: np.ndarray | None = None
    stored_labels: list[int] = []
    for index, record in enumerate(_records(builder, split, directory)):
        try:
            image, label = _parse(record, image_key, label_key, features[image_key].shape)
        # Pillow and protobuf raise many things at damaged bytes.
        except Exception as error:
            raise UserError(
                f"{directory}: record {index} of {split} is not readable: {_reason(error)}"
            ) from error
        if images is None:
            images = np.empty((count, *image.shape), np.uint8)
        if image.shape != images.shape[1:]:
            raise UserError(
                f"{directory} has images of mixed sizes, {images.shape[1:]} and {image.shape} "
                f"(record {index} of {split}); all must have one size"
            )
        images[index] = image
        stored_labels.append(label)
    assert images is not None
    labels = np.array(stored_labels, np.int64)
    classes = len(features[label_key].names)
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        raise UserError(
            f"{directory}: label {labels[wrong[0]]} of record {wrong[0]} of {split} is out of "
            f"range; the {classes} classes are 0 to {classes - 1}"
        )
    return images, labels.astype(np.int32)


def _records(builder: Any, split: str, directory: Path) -> Iterator[bytes]:
    """The records of a split as the bytes they are stored in.

    The bytes, because our decoding takes a quarter of the time of tensorflow-datasets' own, and
    does not ask for OpenCV.
    """
    import tensorflow_datasets as tfds

    with _described(directory):
        shards = [
            (Path(shard.filename), shard.examples_in_shard)
            for shard in builder.info.splits[split].file_instructions
        ]
    for path, expected in shards:
        _check_shard(path, expected)
    with _described(directory):
        records = builder.as_data_source(
            split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
        )
    damage = (RuntimeError, IndexError, ValueError)
    for start in range(0, len(records), _BATCH):
        keys = range(start, min(start + _BATCH, len(records)))
        try:
            yield from records.__getitems__(list(keys))
        except damage as error:
            found = start
            with contextlib.suppress(*damage):
                for found in keys:
                    records[found]
            raise UserError(
                f"a record file of {split} in {directory} is damaged: {len(records):,} records "
                f"expected, {found:,} found before the damage"
            ) from error


def _check_shard(path: Path, expected: int) -> None:
    """Raise UserError unless a record file holds as many records as dataset_info.json says."""
    from array_record.python import (
        array_record_module,  # pyright: ignore[reportAttributeAccessIssue]
    )

    if not path.is_file():
        raise UserError(f"record file {path} is missing; {expected:,} records expected, 0 found")
    try:
        reader = array_record_module.ArrayRecordReader(
            str(path), options="readahead_buffer_size:0", file_reader_buffer_size=1 << 15
        )
        found = reader.num_records() if reader.ok() else None
        reader.close()
    except (RuntimeError, ValueError, OSError):
        found = None
    if found == expected:
        return
    if found is None:
        found = min(count_whole_records(path), expected)
    raise UserError(
        f"record file {path} is truncated or not the one dataset_info.json describes: "
        f"{expected:,} records expected, {found:,} found"
        + (", but not the index that follows them" if found == expected else "")
    )


def _parse(
    record: bytes, image_key: str, label_key: str, shape: tuple[int | None, ...]
) -> tuple[np.ndarray, int]:
    """Decode a serialised tf.train.Example to an image, (height, width, channels), and a label."""
    from PIL import Image
    from tensorflow_datasets.proto import tf_example_pb2

    parse = tf_example_pb2.Example.FromString  # pyright: ignore[reportAttributeAccessIssue]
    feature = parse(record).features.feature
    channels = shape[-1]
    assert channels is not None
    with Image.open(io.BytesIO(feature[image_key].bytes_list.value[0])) as picture:
        mode = _MODES[channels]
        pixels = np.asarray(picture if picture.mode == mode else picture.convert(mode))
    image = pixels.reshape(*pixels.shape[:2], channels)
    return image, feature[label_key].int64_list.value[0]


def _reason(error: BaseException) -> str:
    """The first line of what an exception says."""
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
