"""Vision experiments in JAX that can be trusted, swept and resumed.

The names below are loaded when they are first used: `import jaxcv`, `jaxcv.reference` and
`jaxcv --help` import no JAX.
"""

import gc
import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxcv import layers, losses, models, ops, optimizers, reference
    from jaxcv.augment import (
        AlternatingFlip,
        RandomFlip,
        RandomRotation,
        RandomTranslation,
        ReflectedTranslation,
    )
    from jaxcv.comparison import compare
    from jaxcv.errors import UserError
    from jaxcv.experiment import Experiment
    from jaxcv.fitting import Result, fit
    from jaxcv.grouped import LookaheadSGD, Muon
    from jaxcv.lbfgs import LBFGS
    from jaxcv.losses import CrossEntropy, SummedCrossEntropy
    from jaxcv.optimizers import SGD, Adagrad, Adam, AdamW, Momentum, RMSprop
    from jaxcv.reconstruction import SparseReconstruction
    from jaxcv.schedules import Constant, Piecewise, WarmupCosine, WarmupLinear
    from jaxcv.script import Choice, main
    from jaxcv.sweeps.axes import Choices, Span
    from jaxcv.sweeps.sweep import SweepResult, sweep
    from jaxcv.trained import Trained, load

# XLA:CPU prints a screenful of false alarm for each program that it loads from the compilation
# cache on processors with AVX-512 (jax issue 38445). This must be set before jaxlib is loaded.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

_HOMES = {
    "Adagrad": "optimizers",
    "Adam": "optimizers",
    "AdamW": "optimizers",
    "AlternatingFlip": "augment",
    "Choice": "script",
    "Constant": "schedules",
    "Choices": "sweeps.axes",
    "CrossEntropy": "losses",
    "Experiment": "experiment",
    "LBFGS": "lbfgs",
    "LookaheadSGD": "grouped",
    "Momentum": "optimizers",
    "Muon": "grouped",
    "Piecewise": "schedules",
    "Result": "fitting",
    "RMSprop": "optimizers",
    "RandomFlip": "augment",
    "RandomRotation": "augment",
    "RandomTranslation": "augment",
    "ReflectedTranslation": "augment",
    "SGD": "optimizers",
    "Span": "sweeps.axes",
    "SparseReconstruction": "reconstruction",
    "SweepResult": "sweeps.sweep",
    "SummedCrossEntropy": "losses",
    "Trained": "trained",
    "UserError": "errors",
    "WarmupCosine": "schedules",
    "WarmupLinear": "schedules",
    "compare": "comparison",
    "fit": "fitting",
    "load": "trained",
    "main": "script",
    "sweep": "sweeps.sweep",
}
_MODULES = {"layers", "losses", "models", "ops", "optimizers", "reference"}

__all__ = [
    "LBFGS",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "AlternatingFlip",
    "Choice",
    "Choices",
    "Constant",
    "CrossEntropy",
    "Experiment",
    "LookaheadSGD",
    "Momentum",
    "Muon",
    "Piecewise",
    "RMSprop",
    "RandomFlip",
    "RandomRotation",
    "RandomTranslation",
    "ReflectedTranslation",
    "Result",
    "Span",
    "SparseReconstruction",
    "SummedCrossEntropy",
    "SweepResult",
    "Trained",
    "UserError",
    "WarmupCosine",
    "WarmupLinear",
    "compare",
    "fit",
    "layers",
    "load",
    "losses",
    "main",
    "models",
    "ops",
    "optimizers",
    "reference",
    "sweep",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return _imported(name)
    if name in _HOMES:
        return getattr(_imported(_HOMES[name]), name)
    raise AttributeError(f"module 'jaxcv' has no attribute {name!r}")


def _imported(module: str) -> Any:
    """A module of jaxcv, imported without looking for garbage meanwhile.

    JAX and Flax make a hundred thousand objects that stay: searching them, again and again, is a
    tenth of their import. Frozen, they are never searched later either.
    """
    full = f"{__name__}.{module}"
    if full in sys.modules or not gc.isenabled():
        return importlib.import_module(full)
    gc.disable()
    try:
        return importlib.import_module(full)
    finally:
        gc.freeze()
        gc.enable()


def __dir__() -> list[str]:
    return sorted(__all__)
