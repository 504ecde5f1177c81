"""Why activations at all, and which? One hidden layer of 128 units with each of seven.

python experiments/activations.py [--data cifar10] [--epochs 10]

Without an activation the two layers are one linear map, and do no better than softmax regression.
The picture has training loss and validation accuracy by epoch.
"""

from jaxcv import Adam, Experiment, models
from jaxcv.models.activations import Activation
from jaxcv.plots import compared
from jaxcv.questions import Flags, ask, train

NAMES: dict[str, Activation] = {
    "none": "none",
    "tanh": "tanh",
    "ReLU": "relu",
    "leaky ReLU": "leaky_relu",
    "PReLU": "prelu",
    "ELU": "elu",
    "maxout": "maxout",
}
VARIANTS = {
    name: Experiment(
        model=models.MLP(features=(128,), activation=activation),
        optimizer=Adam(learning_rate=1e-3),
        normalization="standardize",
        batch_size=64,
    )
    for name, activation in NAMES.items()
}


def answer(flags: Flags) -> None:
    outcomes = train(VARIANTS, flags)
    flags.show(compared({name: outcome.metrics for name, outcome in outcomes.items()}))


if __name__ == "__main__":
    ask(answer, epochs=5)
