"""Checkpoints: the whole train state in one file that is either complete or not there.

A file is a line with the format's name, a line with the SHA-256 of what follows, and a MessagePack
document (flax.serialization): arrays and plain values, nothing that could be executed.
"""

import dataclasses
import hashlib
import json
import warnings
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import serialization
from jaxtyping import PyTree

from jaxcv.course import Best
from jaxcv.errors import UserError
from jaxcv.files import write_bytes
from jaxcv.training import TrainState

_MAGIC = b"jaxcv checkpoint 1\n"
_KEPT = 2


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What a run needs to go on, or to predict.

    Attributes:
        experiment: as JSON (`jaxcv.experiment_json`).
        state: the train state, its arrays on the host.
        best: the best parameters so far; None without validation images.
        resumed_from: the steps that the run was resumed from before.
        facts: what a model needs to predict without the data set: image_shape, classes, and the
            normalisation's multiplier and offset.
    """

    experiment: dict[str, Any]
    state: TrainState
    best: Best | None
    resumed_from: tuple[int, ...]
    facts: dict[str, Any]


def save(directory: Path, checkpoint: Checkpoint) -> Path:
    """Writes a checkpoint aside, renames it into place, and removes all but the newest two.

    Raises:
        OSError: the disk is full or the directory is read-only; earlier checkpoints are whole.
    """
    state = checkpoint.state._replace(key=jax.random.key_data(checkpoint.state.key))
    best = checkpoint.best
    document = {
        "experiment": json.dumps(checkpoint.experiment),
        "facts": json.dumps(checkpoint.facts),
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
    digest = hashlib.sha256(payload).hexdigest().encode()
    path = directory / f"step-{int(state.step):010d}.msgpack"
    write_bytes(path, _MAGIC + digest + b"\n" + payload)
    for old in _files(directory)[_KEPT:]:
        old.unlink(missing_ok=True)
    return path


def restore(directory: Path) -> Checkpoint | None:
    """The newest whole checkpoint of a directory; None where there is no checkpoint at all.

    A damaged file is passed over with a warning, and the one before it is used.

    Raises:
        UserError: there are checkpoints, and all are damaged.
    """
    files = _files(directory)
    for path in files:
        try:
            return _read(path)
        except (ValueError, KeyError, TypeError, OSError) as error:
            warnings.warn(f"{path} is damaged ({error}); using the one before it", stacklevel=2)
    if files:
        raise UserError(f"every checkpoint in {directory} is damaged; delete it to start afresh")
    return None


def as_state(saved: TrainState, like: TrainState) -> TrainState:
    """A restored state in the structure of a fresh one, on the device.

    Args:
        saved: from `restore`: nested dictionaries of arrays.
        like: a state of the same experiment, or its shapes.

    Raises:
        UserError: names, shapes or types differ, so the checkpoint is of another experiment.
    """
    saved = saved._replace(key=jax.random.wrap_key_data(jnp.asarray(saved.key)))
    try:
        parts: list[Any] = [
            serialization.from_state_dict(target, value)
            for target, value in zip(like, cast(Any, saved), strict=True)
        ]
    except (ValueError, KeyError) as error:
        raise UserError(f"the checkpoint does not fit this experiment: {error}") from None
    state = TrainState(*parts)

    def described(tree: PyTree) -> dict[str, tuple[Any, Any]]:
        leaves = jax.tree_util.tree_leaves_with_path(tree)
        return {jax.tree_util.keystr(path): (leaf.shape, leaf.dtype) for path, leaf in leaves}

    found, expected = described(state), described(like)
    for name, kind in expected.items():
        if found.get(name) != kind:
            raise UserError(
                f"the checkpoint does not fit this experiment: {name} is {found.get(name)}, "
                f"expected {kind}"
            )
    return jax.device_put(state)


def _files(directory: Path) -> list[Path]:
    """Checkpoints, newest first."""
    return sorted(directory.glob("step-*.msgpack"), reverse=True)


def _read(path: Path) -> Checkpoint:
    data = path.read_bytes()
    head = len(_MAGIC) + 65
    if data[: len(_MAGIC)] != _MAGIC:
        raise ValueError("not a checkpoint of this format")
    if hashlib.sha256(data[head:]).hexdigest().encode() + b"\n" != data[len(_MAGIC) : head]:
        raise ValueError("its checksum does not match its content")
    document: Any = serialization.msgpack_restore(data[head:])
    best = document["best"]
    return Checkpoint(
        experiment=json.loads(document["experiment"]),
        state=TrainState(**document["state"]),
        best=None if best is None else Best(**best),
        resumed_from=tuple(document["resumed_from"]),
        facts=json.loads(document["facts"]),
    )
