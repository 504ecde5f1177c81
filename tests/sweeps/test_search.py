"""Which configurations are tried: repeatable, within their ranges, learning from scores."""

import math
from typing import Any

import numpy as np
import pytest

from jaxcv import UserError
from jaxcv.sweeps import search as module
from jaxcv.sweeps.axes import Choices, Span
from jaxcv.sweeps.search import ROUND, Rounds, Search, Told

AXES = {
    "learning_rate": Span(1e-5, 1e-1, log=True),
    "hidden": Span(4, 64, whole=True),
    "activation": Choices(("relu", "tanh")),
    "features": Choices(((8,), (8, 8))),
}


def search(
    strategy: Any = "random", count: int | None = 20, axes: Any = AXES, seed=0, larger=True
) -> Search:
    return Search(axes, strategy, count, seed, larger)


def through(it: Search, score=lambda configuration: 0.5) -> list[dict]:
    rounds, found = Rounds(it), []
    while configurations := rounds.next():
        found += configurations
        rounds.tell([Told(score(c)) for c in configurations])
    assert len(found) == it.size
    return found


@pytest.mark.parametrize("strategy", ["random", "qmc", "tpe"])
def test_what_is_suggested_is_in_range_and_of_its_type(strategy):
    for it in through(search(strategy)):
        assert 1e-5 <= it["learning_rate"] <= 1e-1
        assert isinstance(it["hidden"], int)
        assert 4 <= it["hidden"] <= 64
        assert it["activation"] in ("relu", "tanh")
        assert it["features"] in ((8,), (8, 8))


@pytest.mark.parametrize("strategy", ["random", "qmc", "tpe"])
def test_a_search_is_a_function_of_its_seed_and_the_scores(strategy):
    one = through(search(strategy, 40), lambda c: -math.log(c["learning_rate"]))
    again = through(search(strategy, 40), lambda c: -math.log(c["learning_rate"]))
    other = through(search(strategy, 40, seed=1), lambda c: -math.log(c["learning_rate"]))
    assert one == again != other


@pytest.mark.parametrize("strategy", ["random", "tpe"])
def test_more_trials_come_after_those_of_fewer(strategy):
    assert through(search(strategy, 40))[:20] == through(search(strategy, 20))


FINITE = {"l2": Choices((0.0, 1e-4, 1e-3)), "hidden": Span(1, 4, whole=True)}


@pytest.mark.parametrize("strategy", ["random", "qmc", "tpe"])
def test_no_configuration_is_tried_twice(strategy):
    """Twelve are all that there are; the best of them would be drawn again and again."""
    found = through(search(strategy, 12, FINITE), lambda c: c["l2"] * c["hidden"])
    assert {(c["l2"], c["hidden"]) for c in found} == {
        (l2, hidden) for l2 in (0.0, 1e-4, 1e-3) for hidden in (1, 2, 3, 4)
    }
    # Those of a smaller search come first here too.
    few = through(search(strategy, 5, FINITE), lambda c: c["l2"] * c["hidden"])
    assert few == found[:5]


def test_a_sampler_that_repeats_itself_is_not_asked_for_ever(monkeypatch):
    monkeypatch.setattr(module, "_REPEATS", 1)
    found = through(search("random", 12, FINITE))
    assert len({(c["l2"], c["hidden"]) for c in found}) == 12


def test_a_log_range_is_drawn_by_ratio():
    rates = [c["learning_rate"] for c in through(search(count=400))]
    # Uniform over four decades: each holds 100 ± 8.7 of 400; five deviations.
    counts, _ = np.histogram(np.log10(rates), bins=[-5, -4, -3, -2, -1])
    assert np.all(np.abs(counts - 100) < 44)


@pytest.mark.parametrize("larger", [True, False])
def test_tpe_learns_which_way_is_better_and_to_keep_off_what_diverges(larger):
    axes = {"learning_rate": Span(0.0, 1.0)}
    sign = -1 if larger else 1

    def score(c):
        return None if c["learning_rate"] > 0.5 else sign * abs(c["learning_rate"] - 0.3)

    late = [c["learning_rate"] for c in through(search("tpe", 96, axes, larger=larger), score)]
    late = np.array(late[-2 * ROUND :])
    # Of random draws half would diverge, and the median distance would be 0.25.
    assert np.mean(late > 0.5) < 0.25
    assert np.median(np.abs(late - 0.3)) < 0.12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("grid", None), "grid needs lists"),
        (("grid", 3, {"l2": Choices((0.0,))}), "--trials is for"),
        (("random", None), "needs --trials"),
        (("tpe", 3, {}), "needs a --set or a --range"),
    ],
)
def test_a_search_that_makes_no_sense_is_one_line(arguments, message):
    with pytest.raises(UserError, match=message):
        search(*arguments)


def test_a_grid_is_one_round():
    grid = search("grid", None, {"l2": Choices((0.0, 1.0))})
    rounds = Rounds(grid)
    assert grid.size == 2
    assert rounds.next() == [{"l2": 0.0}, {"l2": 1.0}]
    rounds.tell([Told(0.1), Told(None)])
    assert rounds.next() == []
