"""The same sparse autoencoder by each solver: cost against time and against evaluations.

python experiments/autoencoder_solvers.py                # a quarter of an hour and more
python experiments/autoencoder_solvers.py --epochs 50    # every solver so long

Every solver starts at the same parameters. Times are of training alone, without compilation. An
epoch of a line search is as many evaluations of cost and gradient as it took.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jaxcv import LBFGS, SGD, Adam, Experiment, Result, SparseReconstruction, compare, models
from jaxcv.comparison import write_page
from jaxcv.logs import read_metrics
from jaxcv.plots import costs_against, save


def experiment(optimizer, epochs: int, batch_size: int | None = None) -> Experiment:
    return Experiment(
        model=models.Autoencoder(hidden=64),
        loss=SparseReconstruction(decay=5e-4, sparsity_weight=0.01, sparsity=0.05),
        optimizer=optimizer,
        epochs=epochs,
        batch_size=batch_size,
        data="patches",
    )


experiments = {
    "lbfgs": experiment(LBFGS(memory=100), epochs=600),
    "adam 0.001": experiment(Adam(learning_rate=1e-3), epochs=5000),
    "adam 0.003": experiment(Adam(learning_rate=3e-3), epochs=5000),
    "adam 0.01": experiment(Adam(learning_rate=1e-2), epochs=5000),
    "adam_minibatch": experiment(Adam(learning_rate=1e-3), epochs=100, batch_size=128),
    "gd": experiment(SGD(learning_rate=0.35), epochs=5000),
}


def show(workdir: Path, runs: Mapping[str, Result]) -> None:
    lines, rows = {}, []
    for name, result in runs.items():
        records = read_metrics(result.workdir / "metrics.jsonl")
        seconds = np.cumsum([record["seconds"] for record in records])
        evaluations = np.cumsum([record.get("evaluations", 1) for record in records])
        lines[name] = (seconds, evaluations, [record["train_cost"] for record in records])
        rows.append((name, result.record["test_cost"], seconds[-1], int(evaluations[-1])))
    path = workdir / "figures" / "solvers.png"
    save(costs_against(lines), path)
    table = [[name, f"{cost:.4f}", f"{s:.1f}", f"{n:,}"] for name, cost, s, n in rows]
    for row in table:
        print("{:<16} cost {}  {} s  {} evaluations".format(*row))
    heads = ["solver", "cost at the end", "seconds", "evaluations"]
    write_page(workdir / "comparison.html", "Solvers", {"Cost by solver.": path}, heads, table)


if __name__ == "__main__":
    compare(experiments, show)
