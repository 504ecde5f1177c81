"""Two 3×3 convolutions with max pooling, trained with Adam.

python experiments/cnn.py --data cifar10 --validation 0    # 15 epochs, 13 minutes on one core
CIFAR-10 test accuracy 71.68 % (n = 1)
"""

from jaxcv import Adam, Experiment, main, models

experiment = Experiment(
    model=models.CNN(features=(64, 64)), optimizer=Adam(learning_rate=1e-3), epochs=15
)

if __name__ == "__main__":
    main(experiment)
