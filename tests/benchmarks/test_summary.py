import dataclasses
import json

import pytest

from jaxcv.benchmarks.contestants import OURS, PEERS, contestants, reference_of
from jaxcv.benchmarks.measuring import Samples, orders
from jaxcv.benchmarks.networks import NETWORKS
from jaxcv.benchmarks.operations import training_operations
from jaxcv.benchmarks.summary import markdown, summarize


def samples(rate: float, ratios: list[float] | None = None) -> Samples:
    return Samples(
        versions={},
        compile_seconds=1.0,
        epoch=[rate * 0.9, rate, rate * 1.2],
        step=[rate * 1.1] * 3,
        forward=[rate * 3] * 3,
        ratios=ratios or [],
    )


@pytest.fixture
def measured() -> dict[str, Samples]:
    """PyTorch's best is faster than Keras's and slower than ours; plain Flax fastest of all."""
    return {
        "jaxcv": dataclasses.replace(samples(1000.0), products=[100e9]),
        "pytorch, eager": dataclasses.replace(samples(400.0, [2.5] * 3), products=[180e9, 200e9]),
        "pytorch, channels_last": samples(800.0, [1.2, 1.25, 1.3]),
        "keras-jax": samples(500.0, [2.0] * 3),
        "flax": samples(1500.0, [0.7] * 3),
        "jaxcv, huge pages": samples(1100.0, [0.9] * 3),
        "jaxcv, bfloat16": samples(2000.0),
        "pytorch, channels_last, bfloat16": samples(2500.0, [0.8] * 3),
    }


def test_figures(measured):
    network = NETWORKS["cnn"]
    figures = summarize(network, measured)
    assert figures["product_rate"] == 190e9  # the faster of the two who multiply
    assert figures["best_rival"] == "pytorch, channels_last"
    assert figures["best_rival_bfloat16"] == "pytorch, channels_last, bfloat16"
    assert figures["epoch_over_steps"] == pytest.approx(1.1)
    ours = figures["contestants"]["jaxcv"]
    assert ours["share"] == pytest.approx(1000 * training_operations(network.layers) / 190e9)
    assert ours["epoch"] == {"min": 900.0, "median": 1000.0, "max": 1200.0}
    rival = figures["contestants"]["pytorch, channels_last"]
    assert rival["ours_over_this"] == {"min": 1.2, "median": 1.25, "max": 1.3}
    json.dumps(figures)


def test_the_table_says_what_was_measured(measured):
    results = {
        "machine": {"processor": "P", "cores": 2, "jax": "0"},
        "rounds": 3,
        "networks": {"cnn": summarize(NETWORKS["cnn"], measured)},
        "startup": {
            "yardstick": {"seconds": {"min": 1, "median": 2, "max": 3}, "ratio": None},
            "help": {"seconds": {"min": 1, "median": 2, "max": 3}, "ratio": 0.25},
        },
    }
    lines = markdown(results).splitlines()
    summary = next(line for line in lines if line.startswith("| cnn |"))
    assert "900, 1,000, 1,200" in summary
    assert "pytorch, channels_last" in summary
    assert "**1.25** (1.20 to 1.30)" in summary
    bfloat16 = next(line for line in lines if line.startswith("| cnn, bfloat16 |"))
    assert "**0.80**" in bfloat16
    assert any(line.startswith("| flax |") and "0.70" in line for line in lines)
    assert "| help | 1.00, 2.00, 3.00 | 0.25 |" in lines
    # Each row of a table has the cells of its header.
    blocks = markdown(results).split("\n\n")
    for block in blocks:
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({row.count("|") for row in rows}) <= 1, block


def test_everybody_is_compared_with_ours_of_the_same_precision():
    everybody = contestants(NETWORKS["cnn"], PEERS, huge_pages=True)
    names = [contestant.name for contestant in everybody]
    assert len(set(names)) == len(names)
    assert names[0] == "jaxcv"
    for expected in ("pytorch, compile, huge pages", "keras-tensorflow", "flax, huge pages"):
        assert expected in names
    assert "jaxcv, huge pages, bfloat16" in names
    turns = dict(orders(everybody, 0))
    assert set(turns) == {"jaxcv", "jaxcv, bfloat16"}
    assert {name for order in turns.values() for name in order} == set(names)
    for contestant in everybody:
        assert contestant.name in turns[reference_of(contestant).name]


def test_ours_alone_and_dense_networks_without_an_order_of_axes():
    assert contestants(NETWORKS["softmax"], (), huge_pages=False) == [OURS]
    names = [c.name for c in contestants(NETWORKS["mlp"], PEERS, huge_pages=False)]
    assert not [name for name in names if "channels_last" in name or "bfloat16" in name]
