"""ResNet-56 with the schedule of the CNN exercise: Adam, two drops of the rate, 150 epochs.

python experiments/resnet56.py --data cifar10 --validation 0    # 150 epochs
CIFAR-10 test accuracy 71.04 % (n = 1; 3 epochs)

The exercise states about 92 % after one to two hours on a GPU, the paper (He et al. 2015, table 6)
93.03 %.
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
    model=models.ResNet(depth=56),
    optimizer=Adam(learning_rate=1e-3),
    # The paper's λ: half of what Keras's l2(1e-4) adds.
    loss=CrossEntropy(l2=1e-4),
    schedule=Piecewise(boundaries=(80.0, 120.0), factors=(0.1, 0.01)),
    augmentation=(RandomTranslation(4), RandomFlip()),
    epochs=150,
)

if __name__ == "__main__":
    main(experiment)
