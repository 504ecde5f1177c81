"""The fields of result.json."""

import hashlib
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from jaxcv import runtime
from jaxcv.experiment import Experiment


def params_sha256(params: PyTree, batch_stats: PyTree) -> str:
    """SHA-256 of the bytes of parameters and statistics, leaves in the order of their paths.

    Two runs are the same run when it is the same.
    """
    digest = hashlib.sha256()
    for tree in (params, batch_stats):
        leaves = jax.tree_util.tree_leaves_with_path(tree)
        for _, leaf in sorted(leaves, key=lambda item: jax.tree_util.keystr(item[0])):
            digest.update(np.ascontiguousarray(jax.device_get(leaf)).tobytes())
    return digest.hexdigest()


def num_params(params: PyTree) -> int:
    """Trainable numbers."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def device_name() -> str:
    """The device that computed: "cpu", "NVIDIA A100", ..., with its count where there are more."""
    devices = jax.devices()
    kind = devices[0].device_kind
    return kind if len(devices) == 1 else f"{len(devices)} × {kind}"


def result_record(
    experiment: Experiment,
    *,
    epochs: float,
    best_epoch: int,
    validation: float | None,
    test: float | None,
    params: PyTree,
    sha256: str,
    resumed_from_steps: tuple[int, ...],
    compile_seconds: float,
    images_per_second: float | None,
    seconds: float,
    training_pflop: float | None,
    **more: float,
) -> dict[str, Any]:
    """result.json as it is written; `validation` and `test` are of the loss's score.

    `more` are figures that not every run has, such as those of the plain test images where
    `test` is of several views.
    `seconds` are those of the process that ends the run, from its start.
    """
    score = experiment.loss.score.name
    return {
        "experiment": experiment.name,
        "data": experiment.data,
        "seed": experiment.seed,
        "data_seed": experiment.data_seed,
        "epochs": epochs,
        "best_epoch": best_epoch,
        f"val_{score}": validation,
        f"test_{score}": test,
        **more,
        "num_params": num_params(params),
        "params_sha256": sha256,
        "resumed_from_steps": list(resumed_from_steps),
        "seconds": seconds,
        "compile_seconds": compile_seconds,
        "images_per_second": images_per_second,
        "training_pflop": training_pflop,
        "versions": runtime.versions(),
        "device": device_name(),
    }
