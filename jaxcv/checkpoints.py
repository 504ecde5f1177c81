"""Checkpoints: the whole train state in one file that is either complete or not there.

A file is a line with the format's name and number, a line with the SHA-256 of all the rest, and a
MessagePack document (flax.serialization): arrays and plain values, nothing that could be executed.
"""

import contextlib
import dataclasses
import hashlib
import json
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import serialization
from jaxtyping import PyTree

from jaxcv.course import Best
from jaxcv.errors import UserError
from jaxcv.files import read_bytes, write_bytes
from jaxcv.training import TrainState

_FORMAT = 2
_FIRST_LINE = re.compile(rb"jaxcv checkpoint (\d{1,9})\n")
_KEPT = 2


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What a run needs to go on, or to predict.

    Attributes:
        experiment: as JSON (`jaxcv.experiment_json`).
        state: the train state, its arrays on the host.
        epoch: epochs that are done, their evaluation and their lines included.
        seconds: spent so far on the epoch after those.
        best: the best parameters so far; None without validation images.
        resumed_from: the steps that the run was resumed from before.
        facts: what a model needs to predict without the data set: image_shape, classes, and the
            normalisation's multiplier and offset.
        versions: of what decides the numbers.
    """

    experiment: dict[str, Any]
    state: TrainState
    epoch: int
    seconds: float
    best: Best | None
    resumed_from: tuple[int, ...]
    facts: dict[str, Any]
    versions: dict[str, str]


def save(directory: Path, checkpoint: Checkpoint) -> Path:
    """Writes a checkpoint aside, renames it into place, and removes all but the newest two.

    Files of later steps go too: a run that went on from an earlier one has found them damaged.

    Raises:
        OSError: the disk is full or the directory is read-only; earlier checkpoints are whole.
    """
    state = checkpoint.state._replace(key=jax.random.key_data(checkpoint.state.key))
    best = checkpoint.best
    document = {
        "experiment": json.dumps(checkpoint.experiment),
        "facts": json.dumps(checkpoint.facts),
        "versions": json.dumps(checkpoint.versions),
        "epoch": checkpoint.epoch,
        "seconds": checkpoint.seconds,
        "resumed_from": [int(step) for step in checkpoint.resumed_from],
        "state": serialization.to_state_dict(jax.device_get(state)),
        "best": None
        if best is None
        else {
            "epoch": best.epoch,
            "score": best.score,
            "params": jax.device_get(best.params),
            "batch_stats": jax.device_get(best.batch_stats),
        },
    }
    payload = serialization.msgpack_serialize(document)
    first = b"jaxcv checkpoint %d\n" % _FORMAT
    path = directory / f"step-{int(state.step):010d}.msgpack"
    write_bytes(path, first + _digest(first, payload) + b"\n" + payload)
    kept = [file for file in _files(directory) if file.name <= path.name][:_KEPT]
    for old in set(_files(directory)).difference(kept):
        with contextlib.suppress(OSError):  # what cannot be removed does no harm
            old.unlink()
    return path


def restore(directory: Path) -> Checkpoint | None:
    """The newest whole checkpoint of a directory; None where there is no checkpoint at all.

    A damaged file is passed over with a warning, and the one before it is used.

    Raises:
        UserError: there are checkpoints, and all are damaged; or the newest whole one is of
            another format.
    """
    damaged: list[str] = []
    for path in _files(directory):
        try:
            checkpoint = _read(path)
        except UserError:
            raise
        # A file made to do harm can make its reader raise anything.
        except Exception as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            damaged.append(f"{path} is damaged ({reason})")
            continue
        for damage in damaged:
            warnings.warn(f"{damage}; using the one before it", stacklevel=2)
        return checkpoint
    if damaged:
        raise UserError(
            f"every checkpoint in {directory} is damaged; delete it to start afresh: "
            + "; ".join(damaged)
        )
    return None


def as_state(saved: TrainState, like: TrainState) -> TrainState:
    """A restored state in the structure of a fresh one, on the device.

    Args:
        saved: from `restore`: nested dictionaries of arrays.
        like: a state of the same experiment, or its shapes.

    Raises:
        UserError: names, shapes or types differ, so the checkpoint is of another experiment.
    """
    unlike = "the checkpoint does not fit this experiment"
    try:
        key = jax.random.wrap_key_data(jnp.asarray(saved.key))
        parts: list[Any] = [
            serialization.from_state_dict(target, value)
            for target, value in zip(like, cast(Any, saved._replace(key=key)), strict=True)
        ]
        state = TrainState(*parts)
        difference = _difference(state, like)
    # What stands in an array's place can be anything.
    except Exception as error:
        raise UserError(f"{unlike}: {error}") from None
    if difference:
        raise UserError(f"{unlike}: {difference}")
    return jax.device_put(state)


def as_best(saved: Best | None, like: TrainState) -> Best | None:
    """Restored best parameters, which must be those of this experiment.

    Args:
        saved: from `restore`.
        like: a state of the experiment, or its shapes.

    Raises:
        UserError: names, shapes or types differ.
    """
    if saved is not None:
        difference = _difference((saved.params, saved.batch_stats), (like.params, like.batch_stats))
        if difference:
            raise UserError(f"the checkpoint's best parameters do not fit: {difference}")
    return saved


def _difference(found: PyTree, expected: PyTree) -> str:
    """The first leaf that is missing, too many or of another shape or type; "" if none is."""

    def described(tree: PyTree) -> dict[str, str]:
        return {
            jax.tree_util.keystr(path): f"{leaf.dtype}{list(leaf.shape)}"
            if hasattr(leaf, "dtype")
            else type(leaf).__name__
            for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
        }

    left, right = described(found), described(expected)
    for name in [*right, *left]:
        if left.get(name) != right.get(name):
            return f"{name} is {left.get(name)}, expected {right.get(name)}"
    return ""


def _files(directory: Path) -> list[Path]:
    """Checkpoints, newest first."""
    return sorted(directory.glob("step-*.msgpack"), reverse=True)


def _digest(first: bytes, payload: bytes | memoryview) -> bytes:
    """The SHA-256 of a file without the line that holds it, in hexadecimal."""
    digest = hashlib.sha256(first)
    digest.update(payload)
    return digest.hexdigest().encode()


def _read(path: Path) -> Checkpoint:
    data = read_bytes(path)
    first = _FIRST_LINE.match(data)
    if first is None:
        raise ValueError("not a checkpoint")
    head = first.end() + 65
    if data[first.end() : head] != _digest(first[0], memoryview(data)[head:]) + b"\n":
        raise ValueError("its checksum does not match its content")
    if int(first[1]) != _FORMAT:
        raise UserError(
            f"{path} has format {int(first[1])}, this version of jaxcv reads format {_FORMAT}; "
            "go on with the version that wrote it, or start afresh in another workdir"
        )
    document: Any = serialization.msgpack_restore(data[head:])
    best = document["best"]
    return Checkpoint(
        experiment=_mapping(document["experiment"]),
        state=TrainState(**document["state"]),
        epoch=int(document["epoch"]),
        seconds=float(document["seconds"]),
        best=None if best is None else Best(**best),
        resumed_from=tuple(int(step) for step in document["resumed_from"]),
        facts=_mapping(document["facts"]),
        versions=_mapping(document["versions"]),
    )


def _mapping(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, Mapping):
        raise ValueError("it holds something else than a jaxcv run")
    return dict(value)
