"""What a sweep has found: a row a trial, mean and deviation of each configuration."""

import csv
import io
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxcv.experiment import flat_settings
from jaxcv.files import write_bytes, write_json
from jaxcv.metrics import Score
from jaxcv.sweeps.axes import Configuration
from jaxcv.sweeps.records import Finished


class Summary(NamedTuple):
    """What the seeds of one configuration have come to.

    Attributes:
        configuration: its values of what the sweep varies.
        n: trials that came to their ends.
        mean: of their scores, which rank them; None where none did.
        std: sample standard deviation of their scores; None for fewer than two.
        test_mean: of their scores on the test images, which nothing is chosen by.
        test_std: sample standard deviation of those.
        diverged: trials that have.
        pruned: trials that were given up.
        trials: numbers of all.
    """

    configuration: Configuration
    n: int
    mean: float | None
    std: float | None
    test_mean: float | None
    test_std: float | None
    diverged: int
    pruned: int
    trials: tuple[int, ...]


def summaries(finished: Sequence[Finished]) -> list[Summary]:
    """A summary of each configuration, in the order of their first trials."""
    groups: dict[str, list[Finished]] = {}
    for one in sorted(finished, key=lambda one: one.trial.number):
        groups.setdefault(json.dumps(one.trial.configuration, sort_keys=True), []).append(one)
    found = []
    for group in groups.values():
        scores = [one.score for one in group if one.score is not None]
        tests = [one.tested for one in group if one.score is not None]
        found.append(
            Summary(
                group[0].trial.configuration,
                len(scores),
                *_mean_and_deviation(scores),
                *_mean_and_deviation(tests),
                sum(one.diverged for one in group),
                sum(one.pruned for one in group),
                tuple(one.trial.number for one in group),
            )
        )
    return found


def _mean_and_deviation(values: Sequence[float]) -> tuple[float | None, float | None]:
    mean = statistics.fmean(values) if values else None
    return mean, statistics.stdev(values) if len(values) > 1 else None


def best_of(finished: Sequence[Finished], score: Score) -> Finished | None:
    """The trial with the best score, the earliest of equals; None where none came to its end."""
    best = None
    for one in sorted(finished, key=lambda one: one.trial.number):
        if one.score is not None and (best is None or score.improves(one.score, best.score)):
            best = one
    return best


def ranked_by(finished: Sequence[Finished], score: Score) -> str:
    """What trials are ranked by, in words: "validation accuracy"."""
    field = f"val_{score.name}"
    held_out = {one.record.get(field) is not None for one in finished if not one.diverged}
    if len(held_out) != 1:
        return score.name
    return f"{'validation' if held_out == {True} else 'test'} {score.name}"


def row_of(one: Finished) -> dict[str, Any]:
    """A trial's row: what varies first, then seed and what came of it, then every other setting."""
    record, experiment = one.record, one.trial.experiment
    settings = {name: value for _, name, value, _ in flat_settings(experiment) if name != "name"}
    varied = {name: settings[name] for name in one.trial.configuration}
    metrics = [f"{split}_{experiment.loss.score.name}" for split in ("val", "test")]
    return {
        "trial": one.trial.number,
        "status": record["status"],
        **varied,
        "seed": experiment.seed,
        **{name: record[name] for name in (*metrics, "best_epoch", "num_params")},
        **{name: record[name] for name in ("seconds", "images_per_second", "params_sha256")},
        **{name: value for name, value in settings.items() if name not in {*varied, "seed"}},
    }


def write_results(workdir: Path, finished: Sequence[Finished], facts: Mapping[str, Any]) -> None:
    """Writes results.csv and results.json.

    Args:
        workdir: of the sweep.
        finished: trials, in any order.
        facts: of the sweep, for results.json.

    Raises:
        OSError: the disk is full or the place cannot be written.
    """
    rows = [row_of(one) for one in sorted(finished, key=lambda one: one.trial.number)]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    write_bytes(workdir / "results.csv", text.getvalue().encode())
    configurations = [
        {**summary._asdict(), "configuration": dict(summary.configuration)}
        for summary in summaries(finished)
    ]
    write_json(
        workdir / "results.json", {**facts, "configurations": configurations, "trials": rows}
    )


def _cell(value: Any) -> Any:
    """A value as a spreadsheet reads it: lists with spaces, nothing for None."""
    return " ".join(map(str, value)) if isinstance(value, tuple) else value
