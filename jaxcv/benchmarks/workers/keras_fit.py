# pyright: reportMissingImports=false
"""Keras 3 through `fit`, on the backend that KERAS_BACKEND names."""

import sys
import time

import keras
import protocol
from keras import layers


def conv(x, features: int, strides: int = 1, bias: bool = False):
    return layers.Conv2D(features, 3, strides, padding="same", use_bias=bias)(x)


def normed(x, features: int, strides: int = 1, scale: bool = False):
    return layers.BatchNormalization(scale=scale)(conv(x, features, strides))


def block(x, features: int, strides: int):
    y = layers.ReLU()(normed(x, features, strides))
    y = normed(y, features)
    new = features - x.shape[-1]
    if strides > 1 or new:
        x = x[:, ::strides, ::strides]
        x = keras.ops.pad(x, ((0, 0), (0, 0), (0, 0), (0, new)))
    return layers.ReLU()(layers.Add()([x, y]))


def outputs(name: str, x):
    if name in ("softmax", "mlp"):
        x = layers.Flatten()(x)
        return layers.Dense(512, "relu")(x) if name == "mlp" else x
    if name in ("cnn", "cnn_batchnorm"):
        for _ in range(2):
            x = conv(x, 64, bias=True) if name == "cnn" else normed(x, 64, scale=True)
            x = layers.MaxPooling2D(2)(layers.ReLU()(x))
        return layers.Flatten()(x)
    if name == "cnn_global_pool":
        for strides in (2, 2, 1):
            x = layers.ReLU()(normed(x, 64, strides))
    else:
        x = layers.ReLU()(normed(x, 16))
        for stack in range(3):
            for i in range(3):
                x = block(x, 16 * 2**stack, 2 if stack and not i else 1)
    return layers.GlobalAveragePooling2D()(x)


class Turns(keras.callbacks.Callback):
    """Holds `fit` before each epoch until it is asked for, and tells how long it took."""

    def __init__(self, channel: protocol.Channel, commands, epochs: int):
        super().__init__()
        self.channel, self.commands, self.epochs = channel, commands, epochs
        self.next: str | None = None
        self.left = epochs
        self.start = 0.0

    def on_train_begin(self, logs=None):
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.left -= 1
        if self.left:
            return
        self.channel.answer(seconds=time.perf_counter() - self.start)
        self.next = next(self.commands, None)
        if self.next != "epoch":
            self.model.stop_training = True
        self.left, self.start = self.epochs, time.perf_counter()


def main() -> None:
    channel = protocol.Channel()
    task = protocol.Task(sys.argv[1])
    keras.utils.set_random_seed(0)
    pixels = keras.Input(task.images.shape[1:], dtype="uint8")
    x = layers.Rescaling(1 / 255, (-task.mean).tolist())(pixels)
    model = keras.Model(pixels, layers.Dense(10)(outputs(task.network, x)))
    model.compile(
        keras.optimizers.Adam(task.learning_rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    batch, labels = task.images[: task.batch_size], task.labels[: task.batch_size]
    used = task.steps_per_epoch * task.batch_size

    def repeated(action) -> float:
        return protocol.seconds(lambda: [action() for _ in range(task.steps)])

    channel.ready("keras", "tensorflow-cpu", "jax", "jaxlib", "numpy")
    commands = channel.commands()
    command = next(commands, None)
    while command is not None:
        if command == "epoch":
            turns = Turns(channel, commands, task.epochs)
            model.fit(
                task.images[:used],
                task.labels[:used],
                task.batch_size,
                epochs=10**9,
                verbose=0,
                callbacks=[turns],
            )
            command = turns.next
            continue
        if command == "step":
            channel.answer(seconds=repeated(lambda: model.train_on_batch(batch, labels)))
        else:
            channel.answer(seconds=repeated(lambda: model.predict_on_batch(batch)))
        command = next(commands, None)


if __name__ == "__main__":
    main()
