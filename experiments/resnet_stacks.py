"""The residual network of the PyTorch exercise: momentum, multi-step rate, early stopping.

python experiments/resnet_stacks.py --data cifar10    # 200 epochs at most
CIFAR-10 test accuracy 47.25 % (n = 1; 3 epochs)

The exercise prints a validation accuracy of about 93.2 % near the end and 92.13 % on the test
images. Its learning rate falls at epochs that its listing cuts off; here at half and at three
quarters of the way.
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
    model=models.ResNetStacks(blocks=10),
    optimizer=Momentum(learning_rate=0.1, momentum=0.9),
    loss=CrossEntropy(l2=1e-4),
    schedule=Piecewise(boundaries=(100.0, 150.0), factors=(0.1, 0.01)),
    augmentation=(RandomTranslation(4), RandomFlip()),
    normalization="standardize",
    epochs=200,
    patience=50,
)

if __name__ == "__main__":
    main(experiment)
