"""Trained parameters in a file of their own: what is left of a trial when its state is gone.

A file is a line with the format's name, a line with the SHA-256 of what follows, and a MessagePack
document (flax.serialization): arrays and plain values, nothing that could be executed.
"""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from flax import serialization
from jaxtyping import PyTree

from jaxcv.errors import UserError
from jaxcv.files import read_bytes, write_bytes

_MAGIC = b"jaxcv parameters 1\n"


@dataclasses.dataclass(frozen=True)
class Parameters:
    """What a model needs to predict.

    Attributes:
        params: trainable parameters, on the host.
        batch_stats: running statistics that belong to them.
        facts: image_shape, classes, and the normalisation's multiplier and offset.
    """

    params: PyTree
    batch_stats: PyTree
    facts: dict[str, Any]

    def write(self, path: Path) -> None:
        """Writes the file in one step.

        Raises:
            OSError: the disk is full or the place cannot be written.
        """
        document = {
            "params": self.params,
            "batch_stats": self.batch_stats,
            "facts": json.dumps(self.facts),
        }
        payload = serialization.msgpack_serialize(document)
        write_bytes(path, _MAGIC + hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload)


def read(path: Path) -> Parameters:
    """The parameters of a file.

    Raises:
        UserError: it cannot be read, or it is damaged.
    """
    try:
        data = read_bytes(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        head = len(_MAGIC) + 65
        digest, payload = data[len(_MAGIC) : head], data[head:]
        if data[: len(_MAGIC)] != _MAGIC:
            raise ValueError("not a file of parameters")
        if hashlib.sha256(payload).hexdigest().encode() + b"\n" != digest:
            raise ValueError("its checksum does not match its content")
        document: Any = serialization.msgpack_restore(payload)
        return Parameters(
            document["params"], document["batch_stats"], json.loads(document["facts"])
        )
    # A file made to do harm can make its reader raise anything.
    except Exception as error:
        raise UserError(f"{path} is damaged: {error}") from None
