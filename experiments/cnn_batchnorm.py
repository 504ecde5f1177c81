"""Two 3×3 convolutions with batch normalisation and max pooling, trained with Adam.

python experiments/cnn_batchnorm.py --data cifar10 --validation 0    # ten minutes on one core
CIFAR-10 test accuracy 71.02 ± 1.04 % (n = 3)
"""

from jaxcv import Adam, Experiment, main, models

experiment = Experiment(
    model=models.CNNBatchNorm(features=(64, 64), downsample="pool"),
    optimizer=Adam(learning_rate=1e-3),
    epochs=15,
)

if __name__ == "__main__":
    main(experiment)
