"""A sparse autoencoder with 64 hidden units on patches of photographs, solved with L-BFGS.

python experiments/autoencoder.py                    # 600 iterations, under a minute on two cores
python experiments/autoencoder.py --solver adam      # 5,000 full-batch epochs
python experiments/autoencoder.py --data-file patches.h5 --hidden 100
Cost 0.7790 (n = 1; Adam at 3e-3 0.7793 after 5,000 epochs, 5.8 times as long)
"""

import numpy as np

from jaxcv import (
    LBFGS,
    SGD,
    Adam,
    Choice,
    Experiment,
    Result,
    SparseReconstruction,
    load,
    main,
    models,
)
from jaxcv.data import load as load_data
from jaxcv.data import raw_patches
from jaxcv.plots import patch_grids, save
from jaxcv.reports import write_report


def experiment(optimizer, epochs: int, batch_size: int | None = None) -> Experiment:
    return Experiment(
        model=models.Autoencoder(hidden=64),
        loss=SparseReconstruction(decay=5e-4, sparsity_weight=0.01, sparsity=0.05),
        optimizer=optimizer,
        epochs=epochs,
        batch_size=batch_size,
        data="patches",
    )


solvers = Choice(
    "solver",
    {
        "lbfgs": experiment(LBFGS(memory=100), epochs=600),
        "adam": experiment(Adam(learning_rate=3e-3), epochs=5000),
        "adam_minibatch": experiment(Adam(learning_rate=1e-3), epochs=100, batch_size=128),
        "gd": experiment(SGD(learning_rate=0.35), epochs=5000),
    },
    note="full-batch L-BFGS, Adam or gradient descent, or Adam on mini-batches",
)


def show_patches(result: Result) -> None:
    """Adds 200 patches before and after preprocessing to the run's page."""
    it = load(result.workdir).experiment
    place = (it.data, it.data_dir, it.data_seed)
    raw = raw_patches(*place, it.data_file, it.data_key)[:200]
    data = load_data(*place, it.validation, it.data_file, it.data_key)
    shown = raw if raw.dtype == np.uint8 else (raw - raw.min()) / (raw.max() - raw.min())
    figure = patch_grids({"as drawn": shown, "as learnt from": data.images[:200]})
    save(figure, result.workdir / "figures" / "patches.png")
    write_report(result.workdir)


if __name__ == "__main__":
    main(solvers, then=show_patches)
