"""The explicit table of what experiment.json may name."""

from collections.abc import Mapping
from types import MappingProxyType

from jaxcv.augment import RandomFlip, RandomRotation, RandomTranslation
from jaxcv.lbfgs import LBFGS
from jaxcv.losses import CrossEntropy
from jaxcv.models import MODELS
from jaxcv.optimizers import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Constant,
    Momentum,
    Piecewise,
    RMSprop,
    WarmupCosine,
)
from jaxcv.reconstruction import SparseReconstruction

PART_TYPES: Mapping[str, type] = MappingProxyType(
    MODELS
    | {
        part.__name__: part
        for part in (
            SGD,
            Momentum,
            Adagrad,
            RMSprop,
            Adam,
            AdamW,
            LBFGS,
            Constant,
            Piecewise,
            WarmupCosine,
            CrossEntropy,
            SparseReconstruction,
            RandomTranslation,
            RandomFlip,
            RandomRotation,
        )
    }
)
