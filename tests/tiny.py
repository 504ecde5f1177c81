"""Data and experiments so small that a test trains them in a moment."""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from jaxcv import models
from jaxcv.data.dataset import Dataset
from jaxcv.experiment import Experiment
from jaxcv.optimizers import SGD


def dataset(
    train: int = 37, validation: int = 11, test: int = 13, shape=(4, 5, 3), classes: int = 4
) -> Dataset:
    """Random images; labels of which each class occurs; splits that are no plain ranges."""
    rng = np.random.default_rng(1)
    n = train + validation + test
    order = rng.permutation(train + validation)
    return Dataset(
        name="tiny",
        images=rng.integers(0, 256, (n, *shape), dtype=np.uint8),
        labels=(np.arange(n) % classes).astype(np.int32),
        train=np.sort(order[:train]).astype(np.int32),
        validation=np.sort(order[train:]).astype(np.int32),
        test=np.arange(train + validation, n, dtype=np.int32),
        classes=tuple(str(c) for c in range(classes)),
    )


def with_settings(value: Any, **settings: Any) -> Any:
    """`dataclasses.replace`, for values of any dataclass."""
    return dataclasses.replace(value, **settings)


@contextlib.contextmanager
def compilations() -> Iterator[list[str]]:
    """Lists the programs that XLA compiles while inside."""
    seen: list[str] = []

    def listen(event: str, duration_secs: float, **kwargs: str | int) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            seen.append(str(kwargs.get("fun_name", event)))

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield seen
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def experiment(**settings) -> Experiment:
    """A dense network that fits the data of `dataset`, with some of its settings changed."""
    base = {
        "model": models.MLP(features=(6,), num_classes=4),
        "optimizer": SGD(0.1),
        "batch_size": 8,
    }
    return Experiment(**(base | settings))
