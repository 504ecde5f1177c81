"""A better answer to the assignment's open challenge: ten epochs of a small residual network.

python experiments/resnet9.py --data cifar10 --validation 1000    # 12 minutes on one core
CIFAR-10 test accuracy 86.60 ± 0.09 % (n = 3)

Batch normalisation and shortcuts let a rate rise and fall once over the ten epochs; flips,
translations and smoothed labels keep it from learning the images by heart.
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
    model=models.ResNet9(),
    optimizer=Momentum(learning_rate=0.1, momentum=0.9, nesterov=True),
    loss=CrossEntropy(l2=5e-4, label_smoothing=0.1),
    schedule=WarmupCosine(warmup_epochs=2.0),
    augmentation=(RandomTranslation(2), RandomFlip()),
    normalization="standardize",
    epochs=10,
)

if __name__ == "__main__":
    main(experiment)
