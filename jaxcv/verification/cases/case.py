"""What one op is given, and what it must return, how exactly."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from jaxcv.verification.running_error import Bounded

Rng = np.random.Generator


class Example(NamedTuple):
    """Arguments of one call, NumPy arrays that float32 holds.

    Attributes:
        inputs: what is differentiated
        auxiliary: further arguments: labels, masks, running statistics
        upstream: gradient of a loss with respect to the output
    """

    inputs: tuple[np.ndarray, ...]
    auxiliary: tuple[np.ndarray, ...]
    upstream: np.ndarray


@dataclasses.dataclass(frozen=True)
class Case:
    """An op with one geometry.

    The op is looked up where it lives each time it is called, as a network does.

    Attributes:
        op: the row of the table that it belongs to
        variant: shapes and settings, for the note of a row that is WRONG
        function: the op as a function of inputs and auxiliary arrays
        draw: an example; of small integers where asked
        forward: the output from the reference, with its bound, given the unit roundoff that
            factors of products are rounded to
        backward: the same for the gradient of each input; None where it is not defined
        contracts: there are matrix products or convolutions in it, which have a precision
        exact: on small integers every order of summation is exact, so that nothing is tolerated
        deep: only with `--deep`
    """

    op: str
    variant: str
    function: Callable[..., Any]
    draw: Callable[[Rng, bool], Example]
    forward: Callable[[Example, float], Bounded]
    backward: Callable[[Example, float], tuple[Bounded, ...]] | None
    contracts: bool = False
    exact: bool = False
    deep: bool = False


def numbers(rng: Rng, shape: tuple[int, ...], integers: bool) -> np.ndarray:
    """Whole numbers from −3 to 3, or standard normal ones, in float32."""
    if integers:
        return rng.integers(-3, 4, shape).astype(np.float32)
    return rng.standard_normal(shape).astype(np.float32)


def wide(array: np.ndarray) -> np.ndarray:
    """The same numbers in float64."""
    return array.astype(np.float64)
