import collections
import copyreg
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcv.data.restricted_pickle import RefusedPickleError, loads
from tests.cifar10_files import python2_pickle

PROTOCOLS = [None, *range(pickle.HIGHEST_PROTOCOL + 1)]


def dumps(value: Any, protocol: int | None) -> bytes:
    return python2_pickle(value) if protocol is None else pickle.dumps(value, protocol)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "array",
    [
        np.arange(24, dtype=np.uint8).reshape(4, 6),
        np.asfortranarray(np.arange(24, dtype=np.uint8).reshape(4, 6)),
        np.arange(-3, 3, dtype=">i4"),
    ],
)
def test_arrays_of_every_protocol_come_back(array, protocol):
    found = loads(dumps({"data": array}, protocol), ("data",))["data"]
    assert np.array_equal(found, array)
    assert found.dtype == array.dtype
    assert found.shape == array.shape


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_lists_of_numbers_come_back_as_integers(protocol):
    if protocol is None:
        labels: list[Any] = [3, 1, 4]
    else:
        labels = [3, np.int64(1), np.uint8(4)]
    found = loads(dumps({"labels": labels, "other": "text"}, protocol), ("labels", "missing"))
    assert found == {"labels": [3, 1, 4], "missing": None}
    assert all(type(label) is int for label in found["labels"])


class Touch:
    """Pickles to a program that makes a file."""

    def __init__(self, path: Path, function: Any = os.system):
        self.path, self.function = path, function

    def __reduce__(self) -> Any:
        return self.function, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("function", [os.system, eval, exec, getattr, __import__, Path, np.load])
def test_a_malicious_pickle_runs_nothing(function, protocol, tmp_path):
    target = tmp_path / "proof"
    data = pickle.dumps({"data": Touch(target, function), "labels": [1]}, protocol)
    with pytest.raises(RefusedPickleError, match=r"it asks for .*, which no array needs"):
        loads(data, ("labels",))
    assert not target.exists()
    if function is os.system:
        # The test would notice: Python's own unpickler does run it.
        pickle.loads(data)
        assert target.exists()


@pytest.mark.parametrize(
    "name",
    [
        "numpy\nload",
        "numpy.core.multiarray\nfromfile",
        "numpy\ndtype.__init__",
        "builtins\ngetattr",
        "_codecs\ndecode",
        "jaxcv.data.restricted_pickle\nloads",
    ],
)
def test_names_beside_the_known_ones_are_refused(name):
    with pytest.raises(RefusedPickleError, match="it asks for"):
        loads(f"c{name}\n.".encode(), ("data",))


def test_a_dotted_name_leads_nowhere():
    # Protocol 4 lets a name be a path of attributes.
    data = b"\x80\x04\x8c\x05numpy\x8c\x13ndarray.__globals__\x93."
    with pytest.raises(RefusedPickleError, match=r"numpy\.ndarray\.__globals__"):
        loads(data, ("data",))


def test_what_a_pickle_does_to_a_known_name_stays_in_the_pickle():
    # BUILD with a slot state sets attributes of the function it was given.
    poison = b"c_codecs\nencode\n(N(X\x0c\x00\x00\x00__defaults__(I1\nttdtb."
    with pytest.raises(RefusedPickleError):
        loads(poison, ("data",))
    array = np.arange(5, dtype=np.uint8)
    assert np.array_equal(loads(pickle.dumps({"data": array}, 2), ("data",))["data"], array)


def test_the_extension_registry_is_no_way_round():
    code = 0x7A
    copyreg.add_extension("os", "system", code)
    try:
        data = pickle.dumps({"data": os.system}, 2)
        # The registry names the module that defines it.
        data = data.replace(b"cposix\nsystem\n", b"\x82\x7a").replace(b"cnt\nsystem\n", b"\x82\x7a")
        with pytest.raises(RefusedPickleError):
            loads(data, ("data",))
    finally:
        copyreg.remove_extension("os", "system", code)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1, 2], "it holds no dictionary"),
        ({"data": np.array([1.5])}, "values of type 'f8'"),
        ({"data": np.array([print], object)}, "it asks for|array of objects"),
        ({"data": np.array(["text"])}, "values of type"),
        ({"data": np.zeros((1, 1, 1, 1, 1), np.uint8)}, "array of shape"),
        (collections.Counter("data"), r"it asks for collections\.Counter"),
    ],
)
def test_other_content_is_refused(value, message):
    with pytest.raises(RefusedPickleError, match=message):
        loads(pickle.dumps(value, 2), ("data",))


@pytest.mark.parametrize("shape", [(2**40, 3072), (5,), (-1, 3), (2.0, 3), "ab", (True, 6)])
def test_a_shape_its_bytes_do_not_fill_is_refused(shape):
    class Absurd:
        def __reduce__(self) -> Any:
            function, arguments, state = np.zeros(6, np.uint8).__reduce__()
            return function, arguments, (state[0], shape, *state[2:])

    class Array(Absurd):
        pass

    with pytest.raises(RefusedPickleError, match="array of shape"):
        loads(pickle.dumps({"data": Array()}, 2), ("data",))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_cut_anywhere_is_reported(protocol):
    array = np.arange(1000, dtype=np.uint16)
    data = dumps({"data": array, "labels": [1, 2]}, protocol)
    for end in range(0, len(data), 7):
        with pytest.raises(RefusedPickleError):
            loads(data[:end], ("data", "labels"))


def test_a_cut_array_says_how_many_bytes_are_there():
    data = python2_pickle({"data": np.zeros((10, 3072), np.uint8)})
    with pytest.raises(RefusedPickleError, match=r"expected 30720 bytes .* only \d+ remain"):
        loads(data[:20000], ("data",))


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_noise_is_refused(noise):
    with pytest.raises(RefusedPickleError):
        loads(noise, ("data",))


@settings(deadline=None)
@given(st.integers(0, 400), st.integers(0, 255))
def test_a_changed_byte_gives_data_or_a_refusal(position, value):
    data = bytearray(pickle.dumps({"data": np.arange(99, dtype=np.uint8), "labels": [1, 2]}, 2))
    data[position % len(data)] = value
    try:
        found = loads(bytes(data), ("data", "labels"))
    except RefusedPickleError:
        return
    assert set(found) == {"data", "labels"}
