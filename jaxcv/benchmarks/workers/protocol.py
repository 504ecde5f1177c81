"""How a worker is spoken to: a word a line on stdin, a JSON object a line on stdout.

The words are `epoch`, `step`, `forward` and `product`; the answer holds the seconds that took.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np


class Channel:
    """The line to the measuring process; whatever a framework prints goes to stderr instead."""

    def __init__(self) -> None:
        self._answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def commands(self) -> Iterator[str]:
        """What is asked for, until the measuring process has had enough."""
        for line in sys.stdin:
            yield line.strip()

    def answer(self, **values: Any) -> None:
        """Sends one answer."""
        print(json.dumps(values), file=self._answers, flush=True)

    def ready(self, *packages: str, **values: Any) -> None:
        """Says that the worker listens, and with which versions."""
        versions = {}
        for package in packages:
            try:
                versions[package] = version(package)
            except PackageNotFoundError:
                continue
        self.answer(versions=versions, **values)


def seconds(action: Callable[[], Any]) -> float:
    """How long a call takes; it must not return before its work is done."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def serve(channel: Channel, actions: Mapping[str, Callable[[], Any]]) -> None:
    """Does what it is told until there is nothing more."""
    for command in channel.commands():
        channel.answer(seconds=seconds(actions[command]))


class Task:
    """What is to be trained, from the command line.

    Attributes:
        network: its name
        images: uint8, or float32 where nothing is classified, (n, height, width, channels)
        labels: int32, (n,)
        batch_size: images a step
        epochs: passes over the images in one measurement
        steps: steps or forward passes in one measurement
        learning_rate: Adam's
        precision: float32 or bfloat16
        options: the worker's own settings
    """

    def __init__(self, text: str) -> None:
        values = json.loads(text)
        self.network: str = values["network"]
        self.images = np.load(values["images"])
        self.labels = np.load(values["labels"])
        self.batch_size: int = values["batch_size"]
        self.epochs: int = values["epochs"]
        self.steps: int = values["steps"]
        self.learning_rate: float = values["learning_rate"]
        self.precision: str = values["precision"]
        self.options: dict[str, Any] = values["options"]

    @property
    def classifies(self) -> bool:
        """Whether the images are bytes with labels."""
        return self.images.dtype == np.uint8

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch."""
        return len(self.images) // self.batch_size

    @property
    def mean(self) -> np.ndarray:
        """Mean pixel by channel, of bytes divided by 255; of no use to other images."""
        channels = self.images.shape[-1]
        return (self.images.reshape(-1, channels).mean(axis=0) / 255).astype(np.float32)


# Rows and columns of the matrices whose product tells what the machine can do, and how many.
PRODUCT_SIZE = 2048
PRODUCTS = 4
