"""What is measured: the networks, their layers, and how long an epoch of the bench is."""

import dataclasses

from jaxcv.benchmarks.operations import Layer, conv, dense


@dataclasses.dataclass(frozen=True)
class Network:
    """A network of the bench.

    Attributes:
        layers: those with kernels, for the count of operations
        learning_rate: Adam's
        images: of an epoch, unless --images says so: an epoch lasts about a second on two cores
        epochs: passes over them in one measurement
        image_shape: height, width, channels
        batch_size: images a step
        convolutional: whether the order of the axes matters
        bfloat16: whether it is measured in bfloat16 too
        classifies: bytes and labels; else numbers alone, in full batches
        peers: those that have it written; None for all
    """

    layers: tuple[Layer, ...]
    learning_rate: float
    images: int
    epochs: int = 1
    image_shape: tuple[int, int, int] = (32, 32, 3)
    batch_size: int = 128
    convolutional: bool = True
    bfloat16: bool = False
    classifies: bool = True
    peers: tuple[str, ...] | None = None


def _resnet(depth: int, width: int = 16) -> tuple[Layer, ...]:
    layers, inputs, size = [conv(32, 3, width)], width, 32
    for stack in range(3):
        outputs = width * 2**stack
        for block in range((depth - 2) // 6):
            size //= 2 if stack > 0 and block == 0 else 1
            layers += [conv(size, inputs, outputs), conv(size, outputs, outputs)]
            inputs = outputs
    return (*layers, dense(inputs, 10))


def _speedrun() -> tuple[Layer, ...]:
    layers, inputs = [Layer(31 * 31, (2, 2, 3, 24), frozen=True)], 24
    # Before and after the pooling of each group, which drops the last row and column.
    for outputs, whole, pooled in ((64, 30, 15), (256, 14, 7), (256, 6, 3)):
        layers += [conv(whole, inputs, outputs), conv(pooled, outputs, outputs)]
        inputs = outputs
    return (*layers, dense(256, 10))


_CNN = (conv(32, 3, 64), conv(16, 64, 64), dense(64 * 64, 10))

NETWORKS = {
    "softmax": Network((dense(3072, 10),), 2e-4, images=38_400, convolutional=False),
    "mlp": Network((dense(3072, 512), dense(512, 10)), 2e-4, images=12_800, convolutional=False),
    "autoencoder": Network(
        (dense(256, 64), dense(64, 256)),
        1e-3,
        images=10_240,
        epochs=20,
        image_shape=(16, 16, 1),
        batch_size=10_240,
        convolutional=False,
        classifies=False,
        peers=("pytorch",),
    ),
    "cnn": Network(_CNN, 1e-3, images=2_560, bfloat16=True),
    "cnn_batchnorm": Network(_CNN, 1e-3, images=2_560),
    "cnn_global_pool": Network(
        (conv(16, 3, 64), conv(8, 64, 64), conv(8, 64, 64), dense(64, 10)), 1e-3, images=5_120
    ),
    "resnet20": Network(_resnet(20), 1e-3, images=1_280, bfloat16=True),
    # In batches as large as the run's own, an epoch would last a minute.
    "speedrun": Network(_speedrun(), 1e-3, images=1_000, batch_size=500, peers=("pytorch",)),
}
