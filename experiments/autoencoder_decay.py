"""Sparse autoencoders with weight decay 0, 1e-4 and 1e-3, side by side on one page.

python experiments/autoencoder_decay.py    # three times 600 iterations of L-BFGS

The patch of most contrast among 20 that are held out of training goes through all three, and the
same one through the three of autoencoder_hidden.py.
"""

from jaxcv import LBFGS, Experiment, SparseReconstruction, compare, models
from jaxcv.autoencoding import show_studies

experiments = {
    f"decay {decay:g}": Experiment(
        model=models.Autoencoder(hidden=64),
        loss=SparseReconstruction(decay=decay, sparsity_weight=0.01, sparsity=0.05),
        optimizer=LBFGS(memory=100),
        epochs=600,
        batch_size=None,
        data="patches",
        validation=20,
    )
    for decay in (0.0, 1e-4, 1e-3)
}

if __name__ == "__main__":
    compare(experiments, lambda workdir, runs: show_studies(workdir, runs, "Weight decay"))
