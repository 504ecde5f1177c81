"""The explicit table of what experiment.json may name."""

from collections.abc import Mapping
from types import MappingProxyType

from jaxcv.augment import RandomFlip, RandomRotation, RandomTranslation
from jaxcv.losses import CrossEntropy
from jaxcv.models import MODELS
from jaxcv.optimizers import LBFGS, SGD, Adam, AdamW, Constant, Momentum, Piecewise, WarmupCosine
from jaxcv.reconstruction import SparseReconstruction

PART_TYPES: Mapping[str, type] = MappingProxyType(
    MODELS
    | {
        part.__name__: part
        for part in (
            SGD,
            Momentum,
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
