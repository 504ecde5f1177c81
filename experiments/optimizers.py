"""How fast does each update rule learn? Seven of them on one network from the same start.

python experiments/optimizers.py [--data cifar10] [--epochs 10]

Plain gradient descent, momentum, Nesterov's momentum, Adagrad, RMSprop, Adam and AdamW, each with a
learning rate that is usual for it. The picture has training loss and validation accuracy by epoch.
"""

from jaxcv import SGD, Adagrad, Adam, AdamW, Experiment, Momentum, RMSprop, models
from jaxcv.plots import compared
from jaxcv.questions import Flags, ask, train

RULES = {
    "SGD": SGD(learning_rate=1e-2),
    "momentum": Momentum(learning_rate=1e-2, momentum=0.9),
    "Nesterov": Momentum(learning_rate=1e-2, momentum=0.9, nesterov=True),
    "Adagrad": Adagrad(learning_rate=1e-2),
    "RMSprop": RMSprop(learning_rate=1e-3),
    "Adam": Adam(learning_rate=1e-3),
    "AdamW": AdamW(learning_rate=1e-3, weight_decay=1e-2),
}
VARIANTS = {
    name: Experiment(
        model=models.MLP(features=(128,)),
        optimizer=rule,
        normalization="standardize",
        batch_size=64,
    )
    for name, rule in RULES.items()
}


def answer(flags: Flags) -> None:
    outcomes = train(VARIANTS, flags)
    flags.show(compared({name: outcome.metrics for name, outcome in outcomes.items()}))


if __name__ == "__main__":
    ask(answer, epochs=5)
