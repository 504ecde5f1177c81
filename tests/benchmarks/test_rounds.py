import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcv.benchmarks.rounds import best, pair_ratios, spread, turns

names = st.lists(st.sampled_from("abcdefgh"), unique=True)


@given(names, st.integers(0, 3))
def test_everybody_runs_once_a_round_next_to_the_reference(others, number):
    order = turns("ours", others, number)
    assert sorted(name for name in order if name != "ours") == sorted(others)
    assert "ours" in order
    for i, name in enumerate(order):
        if name != "ours":
            assert "ours" in order[max(i - 1, 0) : i + 2]
    assert order == turns("ours", others, number + 1)[::-1]


def test_ratios_are_of_neighbours():
    order = ["ours", "a", "b", "ours", "c"]
    assert turns("ours", ["a", "b", "c"], 0) == order
    # The machine becomes half as fast between a and b: the ratios do not notice.
    ratios = pair_ratios("ours", order, [100.0, 50.0, 25.0, 50.0, 10.0])
    assert ratios == {"a": 2.0, "b": 2.0, "c": 5.0}


@given(names.filter(len), st.floats(0.5, 2.0), st.floats(-0.02, 0.02))
def test_a_steady_drift_cancels_over_two_rounds(others, ratio, drift):
    """A machine whose speed changes by the same amount from one measurement to the next."""
    found = {name: [] for name in others}
    time = 0
    for number in range(2):
        order = turns("ours", others, number)
        values = []
        for name in order:
            speed = 1 + drift * time / 50
            values.append(speed * (ratio if name == "ours" else 1.0))
            time += 1
        for name, value in pair_ratios("ours", order, values).items():
            found[name].append(value)
    for values in found.values():
        # Each pair is off by at most one measurement's drift; the two rounds in opposite ways.
        assert sum(values) / 2 == pytest.approx(ratio, rel=4e-6 + drift**2)


def test_alone_there_is_nothing_to_compare_with():
    assert turns("ours", [], 0) == ["ours"]
    assert pair_ratios("ours", ["ours"], [1.0]) == {}
    assert best({}) is None


def test_spread_and_best():
    assert spread([3.0, 1.0, 2.0, 10.0]) == {"min": 1.0, "median": 2.5, "max": 10.0}
    assert best({"a": 1.0, "b": 3.0, "c": 2.0}) == "b"
