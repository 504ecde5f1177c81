"""Runs to be killed, starved and corrupted: python tests/faults/subjects.py NAME [flags].

Each takes a few seconds after its start, most of them inside steps, and saves many times.
"""

import dataclasses
import sys

from flax import linen as nn
from jaxtyping import Array, Float

from jaxcv import (
    LBFGS,
    Adam,
    Experiment,
    Momentum,
    SparseReconstruction,
    WarmupCosine,
    main,
    models,
)
from jaxcv.augment import RandomFlip, RandomTranslation
from jaxcv.constraints import Count, Fraction
from jaxcv.layers import Dropout


class ResNet8(nn.Module):
    """ResNet-8 that drops pixels of its input while training."""

    width: Count = 4
    dropout: Fraction = 0.1
    num_classes: Count = 10

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"], train: bool = False
    ) -> Float[Array, "batch classes"]:
        images = Dropout(self.dropout)(images, train)
        return models.ResNet(8, self.width, self.num_classes)(images, train)


FEW = Experiment(
    model=models.Softmax(),
    optimizer=Momentum(0.02),
    schedule=WarmupCosine(2.0),
    name="softmax",
    validation=250,  # one step of evaluation
    batch_size=64,
    epochs=40,
)

SUBJECTS = {
    "softmax": FEW,
    "cnn_batchnorm": dataclasses.replace(
        FEW,
        model=models.CNNBatchNorm(features=(4, 4)),
        optimizer=Adam(1e-3),
        name="cnn_batchnorm",
        patience=1000,
        epochs=8,
    ),
    "resnet8": dataclasses.replace(
        FEW,
        model=ResNet8(),
        augmentation=(RandomTranslation(2), RandomFlip()),
        name="resnet8",
        validation=1309,  # leaves 128 to train on
        batch_size=32,
        epochs=6,
    ),
    "autoencoder": Experiment(
        model=models.Autoencoder(hidden=16),
        loss=SparseReconstruction(),
        optimizer=LBFGS(memory=5),
        name="autoencoder",
        data="patches",
        batch_size=None,
        epochs=50,
    ),
}

if __name__ == "__main__":
    main(SUBJECTS[sys.argv[1]], sys.argv[2:])
