import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcv.constraints import (
    TRACED,
    Count,
    Fraction,
    Index,
    Positive,
    Range,
    check,
    expected,
    is_numeric,
    shown,
)
from jaxcv.errors import UserError
from jaxcv.experiment import Experiment, Precision, field_hints

HINTS = field_hints(Experiment)
COUNT_OR_NONE, INDEX_OR_NONE = HINTS["patience"], HINTS["validation"]
POSITIVE_OR_NONE = HINTS["clip_norm"]


@pytest.mark.parametrize(
    ("allowed", "inside", "outside"),
    [
        (Range(), [0, -1e30, 1e30], [math.nan, math.inf, -math.inf, 10**400]),
        (Range(0), [0, 1e-300, 5], [-1e-300, -0.1, math.inf, math.nan]),
        (Range(0, low_open=True), [5e-324, 1], [0, -0.0, -1]),
        (Range(0, 1, high_open=True), [0, 0.999], [1, 1.0, -1]),
        (Range(0, 1), [0, 1], [1.0001]),
    ],
)
def test_range_holds_what_it_says(allowed, inside, outside):
    assert all(value in allowed for value in inside)
    assert not any(value in allowed for value in outside)


def test_range_is_said_in_words():
    assert str(Range()) == "finite"
    assert str(Range(0, low_open=True)) == "greater than 0"
    assert str(Range(1)) == "at least 1"
    assert str(Range(0, 1, high_open=True)) == "at least 0 and less than 1"
    assert str(Range(0, 4294967295)) == "at least 0 and at most 4294967295"


@pytest.mark.parametrize(
    "hint",
    [float, float | None, Positive, POSITIVE_OR_NONE, tuple[float, ...], tuple[Fraction, ...]],
)
def test_float_fields_are_numeric(hint):
    assert is_numeric(hint)


@pytest.mark.parametrize("hint", [int, Count, COUNT_OR_NONE, bool, str, Precision, tuple[int, ...]])
def test_other_fields_are_static(hint):
    assert not is_numeric(hint)


BAD = [
    (Count, 0, "a whole number at least 1"),
    (Count, 1.5, "a whole number at least 1"),
    (Count, True, "a whole number at least 1"),
    (Count, "3", "a whole number at least 1"),
    (Count, 2**31, "a whole number at least 1"),
    (Count, 10**400, "a whole number at least 1"),
    (COUNT_OR_NONE, -1, "a whole number at least 1"),
    (Index, -1, "a whole number at least 0"),
    (Index, 2**32, "a whole number at least 0"),
    (INDEX_OR_NONE, math.nan, "a whole number at least 0"),
    (Positive, 0.0, "a number greater than 0"),
    (Positive, math.nan, "a number greater than 0"),
    (Positive, math.inf, "a number greater than 0"),
    (Positive, True, "a number greater than 0"),
    (Positive, None, "a number greater than 0"),
    (Positive, 10**400, "a number greater than 0"),
    (Positive, np.float64(-1), "a number greater than 0"),
    (Positive, np.float32(math.nan), "a number greater than 0"),
    (Fraction, 1.0, "a number at least 0 and less than 1"),
    (POSITIVE_OR_NONE, -1e-9, "a number greater than 0"),
    (float, "1", "a finite number"),
    (int, np.float64(1), "a whole number"),
    (bool, 1, "true or false"),
    (str, 1, "a text"),
    (str, "a\0b", "a text without null"),
    (Precision, "float16", "one of float32, bfloat16, float64"),
    (tuple[Count, ...], (3, 0), "a whole number at least 1"),
    (tuple[Count, ...], 3, "a list"),
    (tuple[Count, ...], "33", "a list"),
]


@pytest.mark.parametrize(("hint", "value", "right"), BAD)
def test_bad_values_are_one_line(hint, value, right):
    with pytest.raises(UserError) as caught:
        check("some_flag", value, hint)
    message = str(caught.value)
    assert message.startswith(f"--some-flag must be {right}")
    assert message.endswith(f", not {shown(value)}")
    assert "\n" not in message
    assert len(message) < 200


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (Count, 1),
        (Count, np.int64(3)),
        (COUNT_OR_NONE, None),
        (Index, 2**32 - 1),
        (Positive, 1),
        (Positive, np.float32(0.1)),
        (tuple[Count, ...], ()),
        (tuple[Positive, ...], (1, 2.5)),
        (Precision, "bfloat16"),
        (Positive, TRACED),
        (Positive, jnp.float32(-1)),  # arrays are the compiled program's: their value is not known
    ],
)
def test_good_values_pass(hint, value):
    check("flag", value, hint)


def test_tracers_pass():
    def f(x):
        check("flag", x, Positive)
        return x

    assert jax.jit(f)(1.0) == 1.0


def test_expected_says_what_would_be_right():
    assert expected(Positive) == "a number greater than 0"
    assert expected(POSITIVE_OR_NONE) == "a number greater than 0"
    assert expected(tuple[Positive, ...]) == "a list, each a number greater than 0"
    assert expected(Precision) == "one of float32, bfloat16, float64"


@given(st.one_of(st.text(), st.integers(), st.floats(), st.lists(st.integers())))
def test_shown_is_short(value):
    assert len(shown(value)) <= 60
