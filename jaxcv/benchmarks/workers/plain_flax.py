"""Flax as one writes it first: nn.Conv, nn.BatchNorm, a jitted step in a Python loop."""

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import protocol
from flax import linen as nn
from flax.training import train_state


class Net(nn.Module):
    """One of the bench's networks."""

    name_: str

    @nn.compact
    def __call__(self, x, train: bool = False):
        """Logits."""
        name = self.name_

        def normed(x, features: int, stride: int = 1, scale: bool = False):
            x = nn.Conv(features, (3, 3), stride, use_bias=False)(x)
            norm = nn.BatchNorm(not train, momentum=0.99, epsilon=1e-3, use_scale=scale)
            return norm(x)

        if name == "mlp":
            x = nn.relu(nn.Dense(512)(x.reshape(len(x), -1)))
        elif name in ("cnn", "cnn_batchnorm"):
            for _ in range(2):
                x = nn.Conv(64, (3, 3))(x) if name == "cnn" else normed(x, 64, scale=True)
                x = nn.max_pool(nn.relu(x), (2, 2), (2, 2))
        elif name == "cnn_global_pool":
            for stride in (2, 2, 1):
                x = nn.relu(normed(x, 64, stride))
            x = x.mean((1, 2))
        elif name == "resnet20":
            x = nn.relu(normed(x, 16))
            for stack in range(3):
                for i in range(3):
                    features, stride = 16 * 2**stack, 2 if stack and not i else 1
                    y = normed(nn.relu(normed(x, features, stride)), features)
                    new = features - x.shape[-1]
                    x = jnp.pad(x[:, ::stride, ::stride], ((0, 0), (0, 0), (0, 0), (0, new)))
                    x = nn.relu(x + y)
            x = x.mean((1, 2))
        return nn.Dense(10)(x.reshape(len(x), -1))


class State(train_state.TrainState):
    """Flax's own, with running statistics."""

    batch_stats: Any = None


@jax.jit
def train_step(state: State, images, labels, mean):
    """One update on bytes."""
    x = images.astype(jnp.float32) / 255 - mean

    def loss_of(params):
        logits, updated = state.apply_fn(
            {"params": params, "batch_stats": state.batch_stats},
            x,
            train=True,
            mutable=["batch_stats"],
        )
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
        return loss, updated

    (loss, updated), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
    state = state.apply_gradients(grads=gradients, batch_stats=updated.get("batch_stats", {}))
    return state, loss


@jax.jit
def forward(state: State, images, mean):
    """Logits of bytes."""
    x = images.astype(jnp.float32) / 255 - mean
    return state.apply_fn({"params": state.params, "batch_stats": state.batch_stats}, x)


class Worker:
    """The loop around the step."""

    def __init__(self, task: protocol.Task):
        self.task = task
        self.mean = jnp.asarray(task.mean)
        self.rng = np.random.default_rng(0)
        model = Net(task.network)
        variables = model.init(jax.random.key(0), jnp.zeros((1, *task.images.shape[1:])))
        self.state = State.create(
            apply_fn=model.apply,
            params=variables["params"],
            tx=optax.adam(task.learning_rate),
            batch_stats=variables.get("batch_stats", {}),
        )

    def epoch(self) -> None:
        """Shuffles on the host and sends each batch."""
        task = self.task
        for _ in range(task.epochs):
            order = self.rng.permutation(len(task.images))
            losses = []
            for i in range(task.steps_per_epoch):
                index = order[i * task.batch_size : (i + 1) * task.batch_size]
                self.state, loss = train_step(
                    self.state, task.images[index], task.labels[index], self.mean
                )
                losses.append(loss)
            np.mean(jax.device_get(losses))

    def step(self) -> None:
        """Updates on one batch."""
        images, labels = self._batch()
        for _ in range(self.task.steps):
            self.state, _ = train_step(self.state, images, labels, self.mean)
        jax.block_until_ready(self.state)

    def forward(self) -> None:
        """Forward passes on one batch."""
        images, _ = self._batch()
        for _ in range(self.task.steps):
            jax.block_until_ready(forward(self.state, images, self.mean))

    def _batch(self):
        size = self.task.batch_size
        return jnp.asarray(self.task.images[:size]), jnp.asarray(self.task.labels[:size])


if __name__ == "__main__":
    channel = protocol.Channel()
    worker = Worker(protocol.Task(sys.argv[1]))
    channel.ready("jax", "jaxlib", "flax", "optax")
    protocol.serve(channel, {"epoch": worker.epoch, "step": worker.step, "forward": worker.forward})
