"""The assignment's network for the open challenge: convolutions, batch normalisation, ELU.

python experiments/challenge.py --data cifar10 --validation 1000    # ten minutes on one core
CIFAR-10 test accuracy 69.31 ± 0.74 % (n = 3)

The assignment asks for a validation accuracy of 0.70 and prints 0.694 at best, 0.671 at the end.
Its code calls dropout without saying that it trains, which drops nothing; so does this.
`--dropout 0.5` is what it says. resnet9.py is a better answer.
"""

from jaxcv import Adam, Experiment, main, models

experiment = Experiment(
    model=models.ChallengeNet(features=(32, 64, 128), dropout=0.0),
    optimizer=Adam(learning_rate=5e-4),
    normalization="standardize",
    batch_size=64,
    epochs=10,
)

if __name__ == "__main__":
    main(experiment)
