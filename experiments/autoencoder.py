"""A sparse autoencoder with 64 hidden units on patches of photographs, solved with L-BFGS.

python experiments/autoencoder.py                    # 600 iterations of L-BFGS
python experiments/autoencoder.py --solver adam      # 5,000 full-batch epochs
python experiments/autoencoder.py --data-file patches.h5 --hidden 100
"""

from jaxcv import LBFGS, SGD, Adam, Choice, Experiment, SparseReconstruction, main, models


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
        "lbfgs": experiment(LBFGS(), epochs=600),
        "adam": experiment(Adam(learning_rate=3e-3), epochs=5000),
        "adam_minibatch": experiment(Adam(learning_rate=1e-3), epochs=100, batch_size=128),
        "gd": experiment(SGD(learning_rate=0.35), epochs=5000),
    },
    note="full-batch L-BFGS, Adam or gradient descent, or Adam on mini-batches",
)

if __name__ == "__main__":
    main(solvers)
