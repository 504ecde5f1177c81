"""From sums over examples to the numbers that are reported."""

from collections.abc import Mapping
from typing import Any

import numpy as np


def means(totals: Mapping[str, Any]) -> dict[str, float]:
    """Mean loss and accuracy of a set of examples.

    Args:
        totals: `loss` (summed), `correct` and `count`, on the host.

    Returns:
        `loss` in nats an example and `accuracy` as a fraction.

    Example:
        >>> means({"loss": 46.0, "correct": 10, "count": 20})
        {'loss': 2.3, 'accuracy': 0.5}
    """
    count = int(totals["count"])
    return {
        "loss": float(np.float64(totals["loss"]) / count),
        "accuracy": int(totals["correct"]) / count,
    }
