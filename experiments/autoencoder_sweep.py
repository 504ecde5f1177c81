"""Sparse autoencoders over hidden units, weight decay and seeds: 27 networks in one sweep.

python experiments/autoencoder_sweep.py    # 10, 60, 100 hidden units; λ 0, 1e-4, 1e-3; 3 seeds
python experiments/autoencoder_sweep.py --set sparsity_weight=0.01,0.1,3 --seeds 1

The page has the cost of each configuration, and what its hidden units look for side by side.
"""

from jaxcv import LBFGS, Experiment, SparseReconstruction, models
from jaxcv.sweeps.command import main

experiment = Experiment(
    model=models.Autoencoder(hidden=60),
    loss=SparseReconstruction(decay=1e-4, sparsity_weight=0.01, sparsity=0.05),
    optimizer=LBFGS(memory=100),
    epochs=300,
    batch_size=None,
    data="patches",
)

if __name__ == "__main__":
    main(experiment, {"hidden": (10, 60, 100), "decay": (0.0, 1e-4, 1e-3)}, seeds=3)
