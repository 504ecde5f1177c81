"""The explicit table of what experiment.json may name."""

from collections.abc import Mapping
from types import MappingProxyType

from jaxcv.augment import (
    AlternatingFlip,
    RandomFlip,
    RandomRotation,
    RandomTranslation,
    ReflectedTranslation,
)
from jaxcv.grouped import LookaheadSGD, Muon
from jaxcv.lbfgs import LBFGS
from jaxcv.losses import CrossEntropy, SummedCrossEntropy
from jaxcv.models import MODELS
from jaxcv.optimizers import SGD, Adagrad, Adam, AdamW, Momentum, RMSprop
from jaxcv.reconstruction import SparseReconstruction
from jaxcv.schedules import Constant, Piecewise, WarmupCosine, WarmupLinear

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
            LookaheadSGD,
            Muon,
            Constant,
            Piecewise,
            WarmupCosine,
            WarmupLinear,
            CrossEntropy,
            SummedCrossEntropy,
            SparseReconstruction,
            RandomTranslation,
            ReflectedTranslation,
            RandomFlip,
            AlternatingFlip,
            RandomRotation,
        )
    }
)
