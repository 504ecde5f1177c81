"""What the command line says about a sweep's axes, and what it must not say."""

import json
import math

import numpy as np
import pytest

from jaxcv import Adam, Experiment, UserError, models
from jaxcv.sweeps.axes import (
    Choices,
    Span,
    as_axes,
    check_axes,
    configurations,
    configured,
    read_axes,
)
from jaxcv.sweeps.plan import Plan
from jaxcv.sweeps.search import Search

CNN = Experiment(model=models.CNN((8, 8)), optimizer=Adam())
MLP = Experiment(model=models.MLP((8,)), optimizer=Adam())


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("learning_rate=1e-4,1e-3", (1e-4, 1e-3)),
        ("learning-rate=1", (1.0,)),
        ("batch_size=32,None", (32, None)),
        ("precision=float32, bfloat16", ("float32", "bfloat16")),
        ("features=8 8,16 16", ((8, 8), (16, 16))),
        ("seed=0,5,7", (0, 5, 7)),
        ("clip_norm=None,1.5", (None, 1.5)),
        ("data=digits,cifar10", ("digits", "cifar10")),
    ],
)
def test_lists_are_read_as_their_fields_have_them(text, values):
    (axis,) = read_axes(CNN, [text], []).values()
    assert axis == Choices(values)
    assert isinstance(axis, Choices)
    assert [type(v) for v in axis.values] == [type(v) for v in values]


def test_a_text_field_keeps_numbers_as_texts():
    assert read_axes(CNN, ["data_dir=1,2"], []) == {"data_dir": Choices(("1", "2"))}


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("learning_rate=log:1e-5..1e-1", Span(1e-5, 0.1, log=True)),
        ("l2=0..1e-3", Span(0.0, 1e-3)),
        ("batch_size=16..64", Span(16, 64, whole=True)),
        ("beta1=0..1", Span(0.0, 1.0)),
        ("clip_norm=0..1", Span(0.0, 1.0)),
        ("epochs=1..5", Span(1, 5, whole=True)),
        ("epochs=1..2.5", Span(1.0, 2.5)),
    ],
)
def test_ranges(text, span):
    assert list(read_axes(CNN, [], [text]).values()) == [span]


@pytest.mark.parametrize(
    ("lists", "ranges", "message"),
    [
        (["foo=1"], [], "no field 'foo'"),
        (["learning_rat=1"], [], "did you mean learning_rate"),
        (["name=a,b"], [], "no field 'name'"),
        (["num_classes=3"], [], "no field"),
        (["learning_rate"], [], "write --set FIELD=VALUE"),
        (["learning_rate="], [], "no values"),
        (["learning_rate=fast"], [], "must be a number"),
        (["learning_rate=-1"], [], "greater than 0"),
        (["learning_rate=nan"], [], "must be a number"),
        (["batch_size=1.5"], [], "whole number"),
        (["precision=half"], [], "one of float32"),
        (["l2=0,0.0"], [], "a value twice"),
        (["l2=0", "l2=1"], [], "varied twice"),
        (["l2=0"], ["l2=0..1"], "varied twice"),
        ([], ["learning_rate=log:0..1"], "greater than 0"),
        ([], ["l2=log:0..1"], "a log range must be greater than 0"),
        ([], ["l2=log:-1..1"], "a log range must be greater than 0"),
        ([], ["l2=1..1"], "is empty"),
        ([], ["l2=2..1"], "is empty"),
        ([], ["l2=1"], "has no .."),
        ([], ["l2=a..b"], "names no two numbers"),
        ([], ["l2=0..inf"], "finite number"),
        ([], ["batch_size=1.5..8"], "no two whole numbers"),
        ([], ["precision=0..1"], "no number"),
        ([], ["features=1..3"], "no number"),
        ([], ["beta1=0..1.5"], "less than 1"),
        ([], ["foo=0..1"], "no field 'foo'"),
    ],
)
def test_bad_axes_are_one_line(lists, ranges, message):
    with pytest.raises(UserError, match=message) as caught:
        read_axes(CNN, lists, ranges)
    assert "\n" not in str(caught.value)


def test_axes_made_in_python_are_as_those_of_the_command_line():
    axes = {
        "learning_rate": list(np.array([0.5, 0.25], np.float32)),
        "features": [[8], np.array([8, 16])],
        "batch_size": Span(8, 16.0),
    }
    said = read_axes(MLP, ["learning_rate=0.5,0.25", "features=8,8 16"], ["batch_size=8..16"])
    assert as_axes(MLP, axes) == said
    json.dumps(Plan(MLP, Search(as_axes(MLP, axes), "random", 1, 0, True), (0,)).as_json())
    with pytest.raises(UserError, match="list the values"):
        as_axes(MLP, {"normalization": "mean_pixel"})


@pytest.mark.parametrize("axis", [Choices(()), Choices((math.nan,)), Span(0.0, 0.0)])
def test_axes_made_in_python_are_checked_too(axis):
    with pytest.raises(UserError):
        check_axes(MLP, {"learning_rate": axis})


def test_a_grid_has_every_combination_once():
    axes = {"l2": Choices((0.0, 1.0, 2.0)), "seed": Choices((0, 1))}
    found = [tuple(c.values()) for c in configurations(axes)]
    assert found == [(0.0, 0), (0.0, 1), (1.0, 0), (1.0, 1), (2.0, 0), (2.0, 1)]


def test_a_configuration_changes_the_parts_that_have_its_settings():
    it = configured(MLP, {"learning_rate": 0.5, "l2": 0.1, "features": (3,), "seed": 4})
    assert isinstance(it.optimizer, Adam)
    assert (it.optimizer.learning_rate, it.seed) == (0.5, 4)
    assert it.model == models.MLP((3,))
    assert MLP.seed == 0
