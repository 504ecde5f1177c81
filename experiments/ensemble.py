"""What is gained by averaging networks? Up to k seeds of one network, their probabilities averaged.

python experiments/ensemble.py [--data cifar10] [--epochs 5]

The networks differ in nothing but their seed: initialisation and order of the images. The picture
has the test accuracy of the first 1, 2, … k together, against the mean of each alone.
"""

import numpy as np

from jaxcv import Adam, Experiment, UserError, load, models
from jaxcv.plots import against
from jaxcv.questions import Flags, ask, train

MEMBERS = 5
VARIANTS = {
    f"seed {seed}": Experiment(
        model=models.CNN(features=(16, 16)),
        optimizer=Adam(learning_rate=1e-3),
        batch_size=64,
        seed=seed,
    )
    for seed in range(MEMBERS)
}


def answer(flags: Flags) -> None:
    outcomes = train(VARIANTS, flags)
    diverged = [name for name, outcome in outcomes.items() if outcome.record is None]
    if diverged:
        raise UserError(f"{diverged[0]} diverged: there is no ensemble")
    data = flags.dataset()
    images, labels = data.images[data.test], data.labels[data.test]
    batches = np.array_split(images, -(-len(images) // 250))
    members = []
    for outcome in outcomes.values():
        trained = load(outcome.workdir)
        members.append(np.concatenate([trained.predict(batch) for batch in batches]))
    probabilities = np.stack(members)
    alone = (probabilities.argmax(axis=-1) == labels).mean(axis=-1)
    counts = np.arange(1, MEMBERS + 1)
    averages = probabilities.cumsum(axis=0) / counts[:, None, None]
    together = (averages.argmax(axis=-1) == labels).mean(axis=-1)
    print(f"\ntest accuracy alone {alone.mean():.4f} ± {alone.std(ddof=1):.4f}")
    print(f"all {MEMBERS} together {together[-1]:.4f}")
    lines = {"averaged": together, "each alone, mean": np.full(MEMBERS, alone.mean())}
    flags.show(against(counts, lines, "networks", "test accuracy"))


if __name__ == "__main__":
    ask(answer, epochs=3)
