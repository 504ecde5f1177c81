from collections.abc import Callable

import numpy as np
import pytest

from jaxcv.data.cifar10_batches import BINARY, PYTHON, decode
from jaxcv.errors import UserError
from tests.cifar10_files import make_sample, python2_pickle, write_binary_folder

RECORD = 3073


def binary(**changed: bytes) -> dict[str, bytes]:
    """Six files of two records each, zero but for what is changed."""
    return {
        name: changed.get(name.removesuffix(".bin"), bytes(2 * RECORD)) for name in BINARY.files
    }


def batch(count: int = 2, **changed: object) -> bytes:
    content = {"data": np.zeros((count, 3072), np.uint8), "labels": [0] * count}
    return python2_pickle({**content, **changed})


def python(**changed: bytes) -> dict[str, bytes]:
    return {name: changed.get(name, batch()) for name in PYTHON.files}


def test_a_record_is_a_label_and_three_planes():
    record = bytearray(2 * RECORD)
    record[0] = 7
    record[1 : 1 + 1024] = bytes([50]) * 1024
    record[1 + 1024 + 32 * 3 + 4] = 60
    images, labels, pool = decode(BINARY, binary(data_batch_2=bytes(record)), "here")
    assert images.shape == (12, 32, 32, 3)
    assert labels.tolist() == [0, 0, 7] + 9 * [0]
    assert pool == 10
    assert np.all(images[2, ..., 0] == 50)
    assert images[2, 3, 4].tolist() == [50, 60, 0]
    assert images.sum() == 1024 * 50 + 60


def test_both_forms_say_the_same(tmp_path):
    sample = make_sample(20, 5)
    folder = write_binary_folder(tmp_path, sample)
    images, labels, pool = decode(
        BINARY, {name: (folder / name).read_bytes() for name in BINARY.files}, "here"
    )
    assert np.array_equal(images, np.concatenate([sample.train_images, sample.test_images]))
    assert np.array_equal(labels, np.concatenate([sample.train_labels, sample.test_labels]))
    assert pool == 20


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"data_batch_3": bytes(5000)}, "data_batch_3.bin is truncated: 6,146 .* 5,000 found"),
        ({"data_batch_3": bytes(RECORD)}, "data_batch_3.bin is truncated: 6,146 .* 3,073 found"),
        ({"data_batch_1": bytes(0)}, "data_batch_1.bin is truncated: 6,146 .* 0 found"),
        ({"data_batch_5": bytes(9219)}, "data_batch_5.bin is too long: 6,146 .* 9,219 found"),
        ({"test_batch": bytes(5000)}, "test_batch.bin is truncated: 6,146 .* 5,000 found"),
        ({"test_batch": bytes(0)}, "test_batch.bin is truncated: 3,073 .* 0 found"),
        (
            {f"data_batch_{number}": bytes(5000) for number in range(1, 6)},
            "data_batch_1.bin is truncated: 6,146 .* 5,000 found",
        ),
        (
            {f"data_batch_{number}": bytes(10_000 * RECORD) for number in range(1, 6)},
            "test_batch.bin is truncated: 30,730,000 .* 6,146 found",
        ),
        (
            {"test_batch": bytes(RECORD) + b"\x0a" + bytes(3072)},
            "test_batch.bin has the label 10 in record 1, which is out of range",
        ),
    ],
)
def test_binary_files_of_a_wrong_size_or_label_are_refused(changed, message):
    with pytest.raises(UserError, match=f"^here: {message}"):
        decode(BINARY, binary(**changed), "here")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: batch(1), "is not whole: 2 records expected, .* 1 found"),
        (lambda: batch(0, labels=[], data=None), "`data` must be a uint8 array"),
        (lambda: batch(data=np.zeros((2, 3071), np.uint8)), "`data` must be a uint8 array"),
        (lambda: batch(data=np.zeros((2, 3072), np.uint16)), "`data` must be a uint8 array"),
        (lambda: batch(data=np.zeros((2, 32, 32, 3), np.uint8)), "`data` must be a uint8 array"),
        (lambda: batch(labels=[0]), "`labels` must be 2 integers"),
        (lambda: batch(labels=[0, 1.5]), "`labels` must be 2 integers"),
        (lambda: batch(labels=None), "`labels` must be 2 integers"),
        (lambda: batch(labels=[0, 10]), "has the label 10 in record 1, which is out of range"),
        (lambda: batch(labels=[0, -3]), "has the label -1 in record 1, which is out of range"),
        (lambda: batch(labels=[0, 2**80]), "has the label -1 in record 1, which is out of range"),
        (lambda: batch()[:3000], "is no whole pickle .* expected 6144 bytes .* remain"),
        (lambda: b"", "is no whole pickle of a CIFAR-10 batch"),
        (lambda: b"cos\nsystem\n(S'true'\ntR.", "is no whole pickle .* it asks for os.system"),
    ],
)
def test_pickles_of_anything_else_are_refused(content: Callable[[], bytes], message):
    with pytest.raises(UserError, match=f"^here: data_batch_4:? {message}"):
        decode(PYTHON, python(data_batch_4=content()), "here")


def test_labels_may_be_an_array():
    files = python(test_batch=batch(labels=np.array([3, 9])))
    assert decode(PYTHON, files, "here")[1].tolist() == [0] * 10 + [3, 9]
