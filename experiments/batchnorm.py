"""Does batch normalisation help? One network with and without it, over learning rates.

python experiments/batchnorm.py [--data cifar10] [--epochs 5]

Both have the same convolutions and the same optimizer. What the normalisation buys is freedom in
the choice of the learning rate: where the plain network learns slowly or diverges, the other still
learns. The picture has the validation accuracy after the last epoch (with `--validation 0` the test
accuracy) against the learning rate.
"""

import numpy as np

from jaxcv import Experiment, Momentum, models
from jaxcv.plots import against
from jaxcv.questions import Flags, ask, train

RATES = (1e-3, 1e-2, 1e-1, 1.0)
NETWORKS = {
    "with batch normalisation": models.CNNBatchNorm(features=(16, 16)),
    "without": models.CNN(features=(16, 16)),
}
VARIANTS = {
    f"{name}, rate {rate:g}": Experiment(
        model=network,
        optimizer=Momentum(learning_rate=rate, momentum=0.9),
        normalization="standardize",
        batch_size=32,
    )
    for name, network in NETWORKS.items()
    for rate in RATES
}


def answer(flags: Flags) -> None:
    outcomes = train(VARIANTS, flags)
    accuracy = {
        name: np.array([outcomes[f"{name}, rate {rate:g}"].accuracy for rate in RATES])
        for name in NETWORKS
    }
    # Without images that are held out, it is that on the test images.
    axes = ("learning rate", "test accuracy" if flags.validation == 0 else "validation accuracy")
    flags.show(against(np.array(RATES), accuracy, *axes, logarithmic=True))


if __name__ == "__main__":
    ask(answer, epochs=10)
