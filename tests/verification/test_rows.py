import json
import math

import numpy as np
import pytest

from jaxcv.verification.rows import Row, compare, worst
from jaxcv.verification.running_error import Bounded


def test_an_error_is_told_in_ulp_and_as_a_fraction_of_its_bound():
    expected = Bounded(np.array([4.0, 1.0]), np.array([1e-6, 1e-6]))
    ulp, fraction = compare(np.array([4.0 + 2.0**-21, 1.0], np.float32), expected)
    assert ulp == 1.0
    assert fraction == pytest.approx(2.0**-21 / 1e-6)


def test_a_bound_of_zero_tolerates_nothing():
    exact = Bounded(np.array([1.0, 2.0]))
    assert compare(np.array([1.0, 2.0], np.float32), exact) == (0.0, 0.0)
    nearly = np.nextafter(np.array([1, 2], np.float32), np.float32(0))
    assert compare(nearly, exact)[1] == math.inf


@pytest.mark.parametrize("actual", [np.full(2, np.nan), np.zeros(3), np.zeros((2, 1))])
def test_no_number_and_no_shape_is_never_right(actual):
    assert compare(actual, Bounded(np.zeros(2), 1.0))[1] == math.inf


def test_a_case_without_a_finite_bound_is_a_defect():
    with pytest.raises(ValueError, match="not finite"):
        compare(np.zeros(1), Bounded(np.zeros(1), np.inf))


def test_a_row_holds_up_to_its_bound():
    assert Row("op", "jit", "float32", 1.0, 1.0).ok
    assert not Row("op", "jit", "float32", 1.0, 1.0000001).ok
    assert not Row("op", "jit", "float32", 1.0, math.nan).ok


def test_the_worst_row_keeps_the_largest_ulp():
    rows = [Row("op", "jit", "p", 9.0, 0.1), Row("op", "jit", "p", 2.0, 3.0, "this one")]
    assert worst(rows) == Row("op", "jit", "p", 9.0, 3.0, "this one")


def test_json_has_no_infinities():
    told = json.loads(json.dumps(Row("op", "jit", "p", math.inf, math.nan).as_json()))
    assert (told["ulp"], told["fraction"], told["ok"]) == (None, None, False)
