"""The learning rate of a convolutional network, searched coarsely and then finely.

python experiments/learning_rate_sweep.py --data cifar10 --epochs 1

First rates over four decades, each for --epochs; then rates about the best of them, each for four
times as long, with three seeds. Both are sweeps, with a page each in the workdir: coarse and fine.
"""

import dataclasses
import sys

from jaxcv import Adam, Experiment, Span, UserError, models
from jaxcv.exits import exits
from jaxcv.script import named, running_script
from jaxcv.sweeps.command import perform, read

COARSE, FINE = 12, 6
experiment = Experiment(
    model=models.CNN(features=(16, 16)), optimizer=Adam(), batch_size=64, epochs=2
)


def search() -> None:
    path, text = running_script()
    rates = {"learning_rate": Span(1e-5, 1e-1, log=True)}
    it, axes, flags = read(sys.argv[1:], named(experiment, path.stem), path.name, text, rates)
    if any(isinstance(axis, Span) for axis in axes.values()):
        flags = dataclasses.replace(flags, trials=flags.trials or COARSE)
    coarse = perform(it, axes, flags, below="coarse")
    if coarse.best is None:
        raise UserError(
            "every rate diverged; try smaller ones: --range learning_rate=log:1e-8..1e-4"
        )
    best = coarse.best.trial.configuration["learning_rate"]
    print(
        f"the best rate of the coarse search is {best:.2g}; now from a third of it to three times"
    )
    seeds = flags.seeds or (None if "seed" in axes else 3)
    strategy = None if flags.search == "grid" else flags.search
    flags = dataclasses.replace(flags, trials=FINE, seeds=seeds, search=strategy)
    axes = axes | {"learning_rate": Span(best / 3, 3 * best, log=True)}
    fine = perform(dataclasses.replace(it, epochs=4 * it.epochs), axes, flags, below="fine")
    for found in sorted(fine.configurations, key=lambda c: -(c.mean or 0.0)):
        rate, nothing = found.configuration["learning_rate"], float("nan")
        mean, std = (nothing if x is None else x for x in (found.mean, found.std))
        print(f"{rate:8.2g}  {mean:.4f} ± {std:.4f} (n = {found.n})")


if __name__ == "__main__":
    with exits("learning_rate_sweep.py"):
        search()
