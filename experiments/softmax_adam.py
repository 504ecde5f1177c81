"""Softmax regression trained with Adam.

python experiments/softmax_adam.py --data cifar10
"""

from jaxcv import Adam, Experiment, main, models

experiment = Experiment(model=models.Softmax(), optimizer=Adam(learning_rate=2e-4), epochs=30)

if __name__ == "__main__":
    main(experiment)
