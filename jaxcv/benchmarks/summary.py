"""From samples to figures, and from figures to the table that the README carries."""

import dataclasses
import statistics
from collections.abc import Mapping
from typing import Any

from jaxcv.benchmarks.contestants import OURS, RIVALS
from jaxcv.benchmarks.measuring import MULTIPLIERS, Samples
from jaxcv.benchmarks.networks import Network
from jaxcv.benchmarks.operations import forward_operations, training_operations
from jaxcv.benchmarks.rounds import best, spread


def summarize(network: Network, samples: Mapping[str, Samples]) -> dict[str, Any]:
    """A network's figures, ready for JSON: the samples themselves among them."""
    product_rate = max(
        (statistics.median(samples[name].products) for name in MULTIPLIERS if name in samples),
        default=None,
    )
    rows = {name: _row(network, sample, product_rate) for name, sample in samples.items()}
    ours = rows[OURS.name]
    return {
        "operations_per_image": {
            "training": training_operations(network.layers),
            "forward": forward_operations(network.layers),
        },
        "product_rate": product_rate,
        "contestants": rows,
        # Above 1: what an epoch costs beyond its steps.
        "epoch_over_steps": ours["step"]["median"] / ours["epoch"]["median"],
        "best_rival": _best_rival(rows, "float32"),
        "best_rival_bfloat16": _best_rival(rows, "bfloat16"),
    }


def _row(network: Network, sample: Samples, product_rate: float | None) -> dict[str, Any]:
    row: dict[str, Any] = {"samples": dataclasses.asdict(sample)}
    for figure in ("epoch", "step", "forward"):
        row[figure] = spread(getattr(sample, figure))
    row["ours_over_this"] = spread(sample.ratios) if sample.ratios else None
    row["compile_seconds"] = sample.compile_seconds
    row["share"] = None
    if product_rate is not None:
        used = row["epoch"]["median"] * training_operations(network.layers)
        row["share"] = used / product_rate
    return row


def _best_rival(rows: Mapping[str, Any], precision: str) -> str | None:
    """The fastest by the median epoch of Keras and PyTorch in one precision, in any mode."""
    rivals = {
        name: row["epoch"]["median"]
        for name, row in rows.items()
        if name.split(",")[0] in RIVALS and ("bfloat16" in name) == (precision == "bfloat16")
    }
    return best(rivals)


def markdown(results: Mapping[str, Any]) -> str:
    """Two tables: ours beside the best of the others, and everybody."""
    machine = results["machine"]
    lines = [
        f"{machine['processor']}, {machine['cores']} cores, {results['rounds']} rounds, "
        f"jax {machine['jax']}; images/s of whole training epochs.",
        "",
        "| network | jaxcv: min, median, max | share of matrix products | best of Keras and "
        "PyTorch | its median | jaxcv ÷ best: median (min to max) | epoch ÷ steps |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, figures in results["networks"].items():
        lines += [
            _summary_line(name, figures, OURS.name, figures["best_rival"]),
            *(
                [_summary_line(f"{name}, bfloat16", figures, ours, figures["best_rival_bfloat16"])]
                if (ours := f"{OURS.name}, bfloat16") in figures["contestants"]
                else []
            ),
        ]
    for name, figures in results["networks"].items():
        lines += ["", *_detail(name, figures)]
    if results.get("startup"):
        lines += ["", *_startup(results["startup"])]
    return "\n".join(lines) + "\n"


def _summary_line(label: str, figures: Mapping[str, Any], ours: str, rival: str | None) -> str:
    row = figures["contestants"][ours]
    cells = [label, _rates(row["epoch"]), "–" if "," in ours else _share(row)]
    if rival is None:
        cells += ["–", "–", "–"]
    else:
        other = figures["contestants"][rival]
        ratio = other["ours_over_this"]
        cells += [
            rival,
            f"{other['epoch']['median']:,.0f}",
            f"**{ratio['median']:.2f}** ({ratio['min']:.2f} to {ratio['max']:.2f})",
        ]
    cells.append("–" if "," in ours else f"{figures['epoch_over_steps']:.3f}")
    return f"| {' | '.join(cells)} |"


def _detail(name: str, figures: Mapping[str, Any]) -> list[str]:
    operations = figures["operations_per_image"]["training"] / 1e6
    rate = figures["product_rate"]
    products = "" if rate is None else f", matrix products {rate / 1e9:.0f} GFLOP/s"
    lines = [
        f"**{name}**: {operations:.3g} million operations an image{products}",
        "",
        "| | epoch: min, median, max | step | forward | jaxcv ÷ this | share | compile, s |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for who, row in figures["contestants"].items():
        ratio = row["ours_over_this"]
        cells = [
            who,
            _rates(row["epoch"]),
            f"{row['step']['median']:,.0f}",
            f"{row['forward']['median']:,.0f}",
            "–" if ratio is None else f"{ratio['median']:.2f}",
            "–" if "bfloat16" in who else _share(row),
            f"{row['compile_seconds']:.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _startup(figures: Mapping[str, Any]) -> list[str]:
    lines = [
        "| start-up | seconds: min, median, max | ÷ yardstick (pairs) |",
        "| --- | --- | --- |",
    ]
    for name, row in figures.items():
        ratio = row["ratio"]
        seconds = ", ".join(f"{row['seconds'][k]:.2f}" for k in ("min", "median", "max"))
        lines.append(f"| {name} | {seconds} | {'–' if ratio is None else f'{ratio:.2f}'} |")
    return lines


def _rates(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{figures[key]:,.0f}" for key in ("min", "median", "max"))


def _share(row: Mapping[str, Any]) -> str:
    return "–" if row["share"] is None else f"{row['share']:.2f}"
