"""A small DenseNet of depth 22 and growth 12, with the schedule of its paper.

python experiments/densenet.py --data cifar10 --validation 0    # 300 epochs
CIFAR-10 test accuracy 77.49 % (n = 1; 3 epochs)

Huang et al. (2017, table 2) reach 94.76 % with depth 40 (--depth 40), growth 12 and 300 epochs.
"""

from jaxcv import (
    CrossEntropy,
    Experiment,
    Momentum,
    Piecewise,
    RandomFlip,
    RandomTranslation,
    main,
    models,
)

experiment = Experiment(
    model=models.DenseNet(depth=22, growth=12),
    optimizer=Momentum(learning_rate=0.1, momentum=0.9, nesterov=True),
    loss=CrossEntropy(l2=1e-4),
    schedule=Piecewise(boundaries=(150.0, 225.0), factors=(0.1, 0.01)),
    augmentation=(RandomTranslation(4), RandomFlip()),
    normalization="standardize",
    batch_size=64,
    epochs=300,
)

if __name__ == "__main__":
    main(experiment)
