"""Read plain data and NumPy arrays from a pickled dictionary, and run nothing of it.

A pickle is a program: it names functions and calls them. This reader knows the few names that
arrays, numbers and strings of bytes need, and even for these it supplies its own harmless
functions, which only note what they are called with. Every other name is refused before anything
is called.
"""

import dataclasses
import io
import math
import pickle
import pickletools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

# Signed, unsigned and the one number format CIFAR-10 and its imitations have any use for.
_DTYPES = frozenset({"u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8"})
_MAX_AXES = 4


class RefusedPickleError(Exception):
    """The bytes are no pickle, are cut, or ask for more than plain data and arrays."""


class _DType:
    """Notes the type code and byte order that a pickle gives to numpy.dtype."""

    def __init__(self, code: Any, *flags: Any):
        self.code = code.decode("latin1") if isinstance(code, bytes) else code
        self.order = "|"

    def __setstate__(self, state: Any) -> None:
        order = state[1]
        self.order = order.decode("latin1") if isinstance(order, bytes) else order

    def resolve(self) -> np.dtype:
        if self.code not in _DTYPES or self.order not in ("<", ">", "|", "="):
            raise RefusedPickleError(f"it holds values of type {self.code!r}")
        return np.dtype(self.order + self.code)


class _NDArray:
    """Stands for the class numpy.ndarray, which a pickle names but need not call."""


class _Array:
    """Notes the shape, type and bytes that a pickle gives to an array."""

    def __init__(self) -> None:
        self.parts: tuple[Any, ...] = ()

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        self.parts = (shape, dtype, "F" if fortran else "C", data)

    def resolve(self) -> np.ndarray:
        shape, dtype, order, data = self.parts
        if not isinstance(dtype, _DType) or not isinstance(data, bytes | bytearray):
            raise RefusedPickleError("it holds an array of objects")
        resolved = dtype.resolve()
        if (
            not isinstance(shape, tuple)
            or len(shape) > _MAX_AXES
            or not all(type(size) is int and size >= 0 for size in shape)
            or math.prod(shape) * resolved.itemsize != len(data)
        ):
            raise RefusedPickleError(f"it holds an array of shape {shape} in {len(data):,} bytes")
        return np.frombuffer(data, resolved).reshape(shape, order=order)


@dataclasses.dataclass
class _Number:
    """Notes the type and bytes that a pickle gives to a NumPy number."""

    dtype: Any
    data: Any

    def resolve(self) -> int:
        array = _Array()
        array.parts = ((), self.dtype, "C", self.data)
        return int(array.resolve())


def _reconstruct(kind: Any, shape: Any, code: Any) -> _Array:
    return _Array()


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    array = _Array()
    array.parts = (shape, dtype, "F" if order == "F" else "C", data)
    return array


def _encode(text: str, encoding: str) -> bytes:
    """What `_codecs.encode` does, for the one encoding in which pickles keep bytes as text."""
    if encoding != "latin1":
        raise RefusedPickleError(f"it holds text in {encoding!r}")
    return text.encode("latin1")


_NAMES: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "dtype"): _DType,
    ("numpy", "ndarray"): _NDArray,
    ("_codecs", "encode"): _encode,
    # NumPy 1 and 2 name the same functions differently.
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _Number for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if (module_name, global_name) not in _NAMES:
            raise RefusedPickleError(
                f"it asks for {module_name}.{global_name}, which no array needs"
            )
        stand_in = _NAMES[module_name, global_name]
        # A pickle can set attributes of what it gets from here: of this lambda, then, and no more.
        return lambda *arguments: stand_in(*arguments)


def loads(data: bytes, keys: Iterable[str]) -> dict[str, Any]:
    """Read some entries of a pickled dictionary.

    Arrays and NumPy's numbers, which must be of integers, are given as such where they are an
    entry or stand in a list that is one.

    Args:
        data: The pickle, of any protocol, Python 2's included.
        keys: Which entries.

    Returns:
        The entries; None for one that is not there.

    Raises:
        RefusedPickleError: It is no whole pickle, or asks for anything else than plain data, or is
            no dictionary; nothing was run.
    """
    try:
        content = _Unpickler(io.BytesIO(data), encoding="bytes").load()
        if not isinstance(content, dict):
            raise RefusedPickleError("it holds no dictionary")
        # Python 2's text is bytes here.
        entries = {key: content.get(key.encode(), content.get(key)) for key in keys}
        return {
            key: [_resolve(item) for item in entry] if isinstance(entry, list) else _resolve(entry)
            for key, entry in entries.items()
        }
    except RefusedPickleError:
        raise
    # A pickle made to do harm, or cut anywhere, can make the unpickler raise anything.
    except Exception as error:
        raise RefusedPickleError(_diagnosis(data)) from error


def _resolve(value: Any) -> Any:
    return value.resolve() if isinstance(value, _Array | _Number) else value


def _diagnosis(data: bytes) -> str:
    """Say why bytes are no whole pickle, from a walk over its opcodes that runs none."""
    try:
        for _ in pickletools.genops(data):
            pass
    except Exception as error:
        return f"{error}; the file has {len(data):,} bytes"
    return "its steps make no sense"
