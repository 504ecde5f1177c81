"""Three convolutions with batch normalisation and global average pooling, for images of any size.

python experiments/cnn_global_pool.py --data cifar10 --validation 0    # 12 minutes on one core
CIFAR-10 test accuracy 68.68 ± 2.26 % (n = 3)

Before the pooling a unit sees 15×15 pixels (`jaxcv inspect cnn_global_pool`).
"""

from jaxcv import Adam, Experiment, main, models

experiment = Experiment(
    model=models.CNNGlobalPool(features=(64, 64, 64)),
    optimizer=Adam(learning_rate=1e-3),
    epochs=30,
)

if __name__ == "__main__":
    main(experiment)
