"""ResNet-20 with the schedule of the CNN exercise: Adam, two drops of the rate, 150 epochs.

python experiments/resnet20.py --data cifar10 --validation 0    # 150 epochs

Any depth 6n + 2 is one flag away: --depth 32. The paper (He et al. 2015, table 6) reaches 91.25 %
with depth 20. resnet20_short.py takes 40 epochs.
"""

from jaxcv import (
    Adam,
    CrossEntropy,
    Experiment,
    Piecewise,
    RandomFlip,
    RandomTranslation,
    main,
    models,
)

experiment = Experiment(
    model=models.ResNet(depth=20),
    optimizer=Adam(learning_rate=1e-3),
    # The paper's λ: half of what Keras's l2(1e-4) adds.
    loss=CrossEntropy(l2=1e-4),
    schedule=Piecewise(boundaries=(80.0, 120.0), factors=(0.1, 0.01)),
    augmentation=(RandomTranslation(4), RandomFlip()),
    epochs=150,
)

if __name__ == "__main__":
    main(experiment)
