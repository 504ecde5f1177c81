"""A line of the table: one computation in one mode, and how far it is from what it must be."""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from jaxcv.verification.bounds import SMALLEST, ulp
from jaxcv.verification.running_error import Bounded


class Row(NamedTuple):
    """One computation in one mode.

    Attributes:
        op: what is computed, with "gradient" behind it where that is
        mode: eager, jit, jit+vmap or jit+scan
        precision: of matrix products, and what it was measured to be; else float32
        ulp: largest error in units in the last place (float32) of the array's largest value
        fraction: largest error as a fraction of its own bound; infinite where something is wrong
            that must be exact, or where there is no number
        note: what was wrong
    """

    op: str
    mode: str
    precision: str
    ulp: float
    fraction: float
    note: str = ""

    @property
    def ok(self) -> bool:
        """Whether every error is within its bound."""
        return self.fraction <= 1

    def as_json(self) -> dict[str, Any]:
        """The row for `--json`; numbers that are not finite become null."""
        numbers = {"ulp": self.ulp, "fraction": self.fraction}
        finite = {name: x if math.isfinite(x) else None for name, x in numbers.items()}
        return {**self._asdict(), **finite, "ok": self.ok}


def compare(actual: np.ndarray | np.generic, expected: Bounded) -> tuple[float, float]:
    """Largest error: in ULP of the largest expected value, and as a fraction of its bound.

    A bound of zero tolerates nothing. Subnormal numbers may be flushed to zero where there is a
    bound at all.

    Raises:
        ValueError: a bound is not finite: the case is too badly conditioned to tell anything.
    """
    if not np.isfinite(expected.error).all():
        raise ValueError("the bound of the case itself is not finite")
    if actual.shape != expected.value.shape:
        return math.inf, math.inf
    error = np.abs(np.asarray(actual, np.float64) - expected.value)
    error = np.where(np.isnan(error), math.inf, error)
    bound = np.where(expected.error > 0, expected.error + SMALLEST, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        fraction = np.where(error == 0, 0.0, error / bound)
    largest = ulp(np.max(np.abs(expected.value)))
    return float(np.max(error) / largest), float(np.max(fraction))


def refused(row: Row, error: Exception, what: str = "") -> Row:
    """The row of a computation that raised: what a backend refuses is a fault to be shown."""
    reason = (str(error) or type(error).__name__).splitlines()[0]
    note = f"{what}: {reason}" if what else reason
    return row._replace(ulp=math.inf, fraction=math.inf, note=note)


def worst(rows: Iterable[Row]) -> Row:
    """The row that is furthest from its bound, with the largest error in ULP of all."""
    rows = list(rows)
    furthest = max(rows, key=lambda row: row.fraction)
    return furthest._replace(ulp=max(row.ulp for row in rows))
