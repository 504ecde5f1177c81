"""jaxcv itself: the programs that `fit` runs, in the process that a script would have."""

import functools
import sys

from jaxcv import device_data, runtime

# First of all, as a script does: it may start the process anew with other settings.
runtime.set_up()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from jaxcv import (  # noqa: E402
    Adam,
    CrossEntropy,
    Experiment,
    SparseReconstruction,
    epochs,
    models,
    programs,
    training,
)
from jaxcv.benchmarks.workers import protocol  # noqa: E402
from jaxcv.data.dataset import Dataset  # noqa: E402
from jaxcv.experiment import merge  # noqa: E402

MODELS = {
    "autoencoder": models.Autoencoder(),
    "softmax": models.Softmax(),
    "mlp": models.MLP(),
    "cnn": models.CNN(),
    "cnn_batchnorm": models.CNNBatchNorm(),
    "cnn_global_pool": models.CNNGlobalPool(),
    "resnet20": models.ResNet(depth=20),
    "speedrun": models.Speedrun(),
}


def prepared(task: protocol.Task) -> programs.Program:
    """The experiment on the task's images, all of them for training."""
    n = len(task.images)
    experiment = Experiment(
        model=MODELS[task.network],
        loss=CrossEntropy() if task.classifies else SparseReconstruction(),
        optimizer=Adam(task.learning_rate),
        batch_size=task.batch_size,
        precision=task.precision,  # pyright: ignore[reportArgumentType]
    )
    dataset = Dataset(
        name="bench",
        images=task.images,
        labels=task.labels,
        train=np.arange(n, dtype=np.int32),
        validation=np.zeros(0, np.int32),
        test=np.arange(min(n, 250), dtype=np.int32),
        classes=tuple(str(c) for c in range(10)) if task.classifies else (),
    )
    return programs.prepare(experiment, dataset)


class Worker:
    """Three states, since an epoch and a bare step each take the one they are given."""

    def __init__(self, task: protocol.Task):
        self.task = task
        self.program = prepared(task)
        self.state = self.program.initial_state(0)
        self.state, self.compile_seconds = self.program.compile(self.state)
        self.pace = epochs.Pace()
        self.orders, self.done = epochs.Orders(self.program, seed=0, total=sys.maxsize), 0
        self.other = self.program.initial_state(1)
        data = self.program.data
        batch = task.batch_size
        self.batch = data._replace(images=data.images[:batch], labels=data.labels[:batch])
        experiment = merge(self.program.static, self.program.hyper)
        order = jnp.arange(batch)[None]
        self.bare_step = jax.jit(
            lambda state, data: training.train_step(
                experiment, state, data, order, self.program.hyper["epochs"]
            ),
            donate_argnums=0,
        )

        @jax.jit
        def bare_forward(state: training.TrainState, data: device_data.DeviceData):
            images = data.images.astype(data.multiplier.dtype) * data.multiplier - data.offset
            return training.apply(experiment, state.params, state.batch_stats, images, False)[0]

        self.bare_forward = bare_forward
        size = protocol.PRODUCT_SIZE
        self.matrix = jnp.ones((size, size), jnp.float32)
        self.times = jax.jit(jnp.matmul)

    def epoch(self) -> None:
        """Shuffle and train, chunk by chunk, as `fit` does between two evaluations."""
        for _ in range(self.task.epochs):
            self.done += 1
            order = self.orders.of(self.done)
            ahead = functools.partial(self.orders.prepare, self.done + 1)
            for state, _ in epochs.run_epoch(
                self.program, self.state, order, 0, self.pace, meanwhile=ahead
            ):
                self.state = state

    def step(self) -> None:
        """Bare compiled steps on one batch."""
        for _ in range(self.task.steps):
            self.other = self.bare_step(self.other, self.batch)
        jax.block_until_ready(self.other.step)

    def forward(self) -> None:
        """Forward passes in evaluation mode on one batch."""
        for _ in range(self.task.steps):
            outputs = self.bare_forward(self.other, self.batch)
            jax.block_until_ready(outputs)

    def product(self) -> None:
        """Large matrix products."""
        for _ in range(protocol.PRODUCTS):
            jax.block_until_ready(self.times(self.matrix, self.matrix))


def main() -> None:
    channel = protocol.Channel()
    worker = Worker(protocol.Task(sys.argv[1]))
    channel.ready("jaxcv", "jax", "jaxlib", "flax", "optax", compile_seconds=worker.compile_seconds)
    protocol.serve(
        channel,
        {
            "epoch": worker.epoch,
            "step": worker.step,
            "forward": worker.forward,
            "product": worker.product,
        },
    )


if __name__ == "__main__":
    main()
