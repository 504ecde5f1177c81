"""The explicit table of what experiment.json may name."""

from collections.abc import Mapping
from types import MappingProxyType

from jaxcv.augment import RandomFlip, RandomRotation, RandomTranslation
from jaxcv.lbfgs import LBFGS
from jaxcv.losses import CrossEntropy
from jaxcv.models import MODELS
from jaxcv.optimizers import SGD, Adagrad, Adam, AdamW, Momentum, RMSprop
from jaxcv.reconstruction import SparseReconstruction
from jaxcv.schedules import Constant, Piecewise, WarmupCosine

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
