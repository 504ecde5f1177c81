"""Sparse autoencoders with 10, 60 and 100 hidden units, side by side on one page.

python experiments/autoencoder_hidden.py    # three times 600 iterations of L-BFGS

The patch of most contrast among 20 that are held out of training goes through all three, and the
same one through the three of autoencoder_decay.py.
"""

from jaxcv import LBFGS, Experiment, SparseReconstruction, compare, models
from jaxcv.autoencoding import show_studies

experiments = {
    f"{hidden} hidden": Experiment(
        model=models.Autoencoder(hidden=hidden),
        loss=SparseReconstruction(decay=5e-4, sparsity_weight=0.01, sparsity=0.05),
        optimizer=LBFGS(memory=100),
        epochs=600,
        batch_size=None,
        data="patches",
        validation=20,
    )
    for hidden in (10, 60, 100)
}

if __name__ == "__main__":
    compare(experiments, lambda workdir, runs: show_studies(workdir, runs, "Hidden units"))
