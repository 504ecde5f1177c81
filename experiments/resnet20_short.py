"""ResNet-20 in 30 epochs: Nesterov's momentum, one rise and fall of the rate, label smoothing.

python experiments/resnet20_short.py --data cifar10 --validation 0

resnet20.py has the full length of 150 epochs; the paper reaches 91.25 %.
"""

from jaxcv import (
    CrossEntropy,
    Experiment,
    Momentum,
    RandomFlip,
    RandomTranslation,
    WarmupCosine,
    main,
    models,
)

experiment = Experiment(
    model=models.ResNet(depth=20),
    optimizer=Momentum(learning_rate=0.1, momentum=0.9, nesterov=True),
    loss=CrossEntropy(l2=5e-4, label_smoothing=0.1),
    schedule=WarmupCosine(warmup_epochs=5.0),
    augmentation=(RandomTranslation(4), RandomFlip()),
    normalization="standardize",
    epochs=30,
)

if __name__ == "__main__":
    main(experiment)
