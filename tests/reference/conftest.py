from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from jaxcv.reference import check_gradient

STEP = 1e-5
LIMIT = 1e-7


@pytest.fixture
def assert_gradients() -> Callable[..., float]:
    """Compare hand-derived gradients of `function` with central differences of step 1e-5.

    Called as (function, inputs, gradients, dy): each input in turn is varied, the others stay.
    Both measures are printed (`pytest -rP` shows them); the first is judged, and its largest value
    returned.
    """

    def check(
        function: Callable[..., Any],
        inputs: tuple[np.ndarray, ...],
        gradients: tuple[np.ndarray, ...],
        dy: Any,
        limit: float = LIMIT,
    ) -> float:
        worst = 0.0
        assert len(gradients) == len(inputs)
        for place, gradient in enumerate(gradients):

            def loss(value: np.ndarray, place: int = place) -> float:
                replaced = (*inputs[:place], value, *inputs[place + 1 :])
                return float((np.asarray(dy) * function(*replaced)).sum())

            result = check_gradient(loss, inputs[place], gradient, STEP)
            assert result.relative_error <= limit, f"input {place}: {result}"
            print(f"input {place}: {result.relative_error:.1e}, {result.max_relative_error:.1e}")
            worst = max(worst, result.relative_error)
        return worst

    return check
