"""What a model is judged by: the name of a figure, and which way is better."""

import dataclasses
import math
from collections.abc import Mapping

from jaxcv.errors import Astray, Diverged

# In nats, or in squared error of an image. Untrained networks are thousands of times below; with a
# learning rate far too large Adam stays above for ever, and finite.
ASTRAY = 1e4


@dataclasses.dataclass(frozen=True)
class Score:
    """The metric that ranks models: the best epoch, early stopping and result.json go by it.

    Attributes:
        name: of the metric: val_NAME, test_NAME.
        larger_is_better: as of an accuracy; false as of a cost.

    Example:
        >>> ACCURACY.improves(0.9, 0.8), COST.improves(0.9, 0.8), COST.improves(0.9, None)
        (True, False, True)
    """

    name: str
    larger_is_better: bool

    def improves(self, value: float, on: float | None) -> bool:
        """Whether a value is better than an earlier one; any value is better than none."""
        if on is None:
            return True
        return value > on if self.larger_is_better else value < on


ACCURACY = Score("accuracy", larger_is_better=True)
COST = Score("cost", larger_is_better=False)


def require_finite(metrics: Mapping[str, float], epoch: int) -> None:
    """Refuses to go on with a run that has diverged.

    Raises:
        Diverged: a metric of this epoch is infinite or no number.
    """
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise Diverged(
                f"training diverged: the {name} is not finite in epoch {epoch}; "
                "try a smaller --learning-rate"
            )


def require_sane(loss: str, metrics: Mapping[str, float], epoch: int) -> None:
    """Refuses to go on where the training loss is finite, but beyond all reason.

    Args:
        loss: name of the metric that is the loss.
        metrics: of the epoch's training batches.
        epoch: from 1.

    Raises:
        Astray: the mean over the epoch is above 10,000.
    """
    if metrics[loss] > ASTRAY:
        raise Astray(
            f"training diverged: the mean {loss} of epoch {epoch} is {metrics[loss]:.2g}, above "
            f"{ASTRAY:,.0f}; try a smaller --learning-rate"
        )
