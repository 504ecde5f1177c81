"""How fast a run trains: images a second over whole epochs."""

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Throughput:
    """Images and seconds of the whole epochs after the first, evaluation apart.

    Example:
        >>> lines = [{"seconds": 2.0, "images_per_second": rate} for rate in (1.0, 10.0, 30.0)]
        >>> Throughput().after(lines[0]).rate
        1.0
        >>> Throughput().after(lines[0]).after(lines[1]).after(lines[2]).rate
        20.0
    """

    epochs: int = 0
    images: float = 0.0
    seconds: float = 0.0

    def after(self, record: Mapping[str, Any]) -> "Throughput":
        """With the epoch of a line of metrics.jsonl; the first counts only until the second."""
        seconds, images = record["seconds"], record["seconds"] * record["images_per_second"]
        if self.epochs <= 1:
            return Throughput(self.epochs + 1, images, seconds)
        return Throughput(self.epochs + 1, self.images + images, self.seconds + seconds)

    @property
    def rate(self) -> float | None:
        """Images a second; None when no epoch was trained."""
        return self.images / self.seconds if self.epochs else None
