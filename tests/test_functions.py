"""What networks call besides ops and layers, in every mode, against the reference.

Dense layers, activations, softmax and cross-entropy: Flax's and JAX's own, `jaxcv.losses`, and our
dense layer.
"""

from typing import Any

import numpy as np
from flax import linen as nn

from jaxcv import layers, losses, reference
from jaxcv.verification.bounds import contraction, summation
from jaxcv.verification.cases.classification import (
    cross_entropy_formula,
    cross_entropy_gradient_formula,
    softmax_formula,
    softmax_gradient_formula,
)
from jaxcv.verification.cases.pointwise import FORMULAS
from jaxcv.verification.running_error import Bounded
from tests.agreement import Drawn, Op, Setting, agrees, as_type, wide


def whole(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """From −3 to 3: float32 adds their products without rounding, in any order."""
    return as_type(rng.integers(-3, 4, shape), dtype)


def normal(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    return as_type(np.exp(rng.uniform(-3, 3)) * rng.standard_normal(shape), dtype)


class Dense(Op):
    """`nn.Dense`; with whole numbers nothing is tolerated."""

    layer: Any = staticmethod(nn.Dense)
    settings = (
        Setting((5, 33), options=(7, whole)),
        Setting((3, 4), options=(2, whole)),
        Setting((1, 1), options=(1, whole)),
        Setting((1, 9), options=(4, whole)),
        Setting((64, 2), options=(3, whole)),
        Setting((5, 33), options=(7, normal)),
        Setting((4, 600), options=(2, normal)),
        Setting((3, 4), "float64", (2, normal)),
    )

    def draw(self, setting, rng):
        features, numbers = setting.options
        batch, inputs = setting.shape
        shapes = ((batch, inputs), (inputs, features), (features,), (batch, features))
        *arguments, dy = (numbers(rng, shape, setting.dtype) for shape in shapes)
        return Drawn(tuple(arguments), (), dy)

    def call(self, setting):
        layer = self.layer(setting.options[0])
        return lambda x, kernel, bias: (
            layer.apply({"params": {"kernel": kernel, "bias": bias}}, x),
            (),
        )

    def expected(self, setting, drawn):
        x, kernel, bias = map(wide, drawn.inputs)
        dy = wide(drawn.upstream)
        values = (reference.dense(x, kernel, bias), *reference.dense_backward(dy, x, kernel))
        sizes = (
            reference.dense(abs(x), abs(kernel), abs(bias)),
            *reference.dense_backward(abs(dy), abs(x), abs(kernel)),
        )
        batch, inputs = x.shape
        terms = (contraction(inputs + 1), contraction(len(bias)), contraction(batch))
        factors = np.asarray((*terms, summation(batch))) * (setting.options[1] is normal)
        return tuple(
            Bounded(value, factor * size)
            for value, factor, size in zip(values, factors, sizes, strict=True)
        )


class Activation(Op):
    """One of `flax.linen`'s, with every size of argument that matters and the kink itself."""

    settings = (Setting((50,)), Setting((1,)), Setting((3, 4)), Setting((2, 3), "float64"))

    def __init__(self, name, formula, slope):
        self.name, self.formula, self.slope = name, formula, slope

    def draw(self, setting, rng):
        x = rng.standard_normal(setting.shape) * np.exp(rng.uniform(-9, 2, setting.shape))
        special = rng.choice([0.0, 1.0, -1.0, 30.0, -30.0, 88.0, -100.0], setting.shape)
        x = as_type(np.where(rng.random(setting.shape) < 0.1, special, x), setting.dtype)
        return Drawn((x,), (), as_type(rng.standard_normal(setting.shape), setting.dtype))

    def call(self, setting):
        return lambda x: (getattr(nn, self.name)(x), ())

    def expected(self, setting, drawn):
        x, dy = wide(drawn.inputs[0]), wide(drawn.upstream)
        function = getattr(reference, self.name)
        gradient = getattr(reference, f"{self.name}_backward")
        return (
            Bounded(function(x), self.formula(Bounded(x)).error),
            Bounded(gradient(dy, x), self.slope(Bounded(x), Bounded(dy)).error),
        )


class Softmax(Op):
    """Of logits up to 1e4."""

    settings = (
        Setting((7, 10)),
        Setting((1, 1)),
        Setting((5, 3)),
        Setting((1, 2)),
        Setting((2, 1000)),
        Setting((3, 4), "float64"),
    )

    def logits(self, setting, rng):
        size = rng.choice([0.0, 1e-3, 1.0, 30.0, 1e4])
        return as_type(size * rng.standard_normal(setting.shape), setting.dtype)

    def draw(self, setting, rng):
        dy = as_type(rng.standard_normal(setting.shape), setting.dtype)
        return Drawn((self.logits(setting, rng),), (), dy)

    def call(self, setting):
        return lambda logits: (nn.softmax(logits), ())

    def expected(self, setting, drawn):
        logits, dy = wide(drawn.inputs[0]), wide(drawn.upstream)
        return (
            Bounded(reference.softmax(logits), softmax_formula(logits).error),
            Bounded(
                reference.softmax_backward(dy, logits), softmax_gradient_formula(dy, logits).error
            ),
        )


class CrossEntropy(Softmax):
    """With label smoothing, which is an array where networks are trained."""

    def draw(self, setting, rng):
        batch, classes = setting.shape
        labels = rng.integers(0, classes, batch).astype(np.int32)
        smoothing = as_type(np.asarray(rng.choice([0.0, 0.1, 1.0, rng.random()])), setting.dtype)
        upstream = as_type(np.asarray(rng.uniform(-2, 2)), setting.dtype)
        return Drawn((self.logits(setting, rng),), (labels, smoothing), upstream)

    def call(self, setting):
        return lambda logits, labels, s: (losses.cross_entropy(logits, labels, s), ())

    def expected(self, setting, drawn):
        labels, smoothing = drawn.held[0], float(drawn.held[1])
        logits, dy = wide(drawn.inputs[0]), float(drawn.upstream)
        value = reference.cross_entropy(logits, labels, smoothing)
        gradient = reference.cross_entropy_backward(dy, logits, labels, smoothing)
        return (
            Bounded(value, cross_entropy_formula(logits, labels, smoothing).error),
            Bounded(gradient, cross_entropy_gradient_formula(dy, logits, labels, smoothing).error),
        )


class OwnDense(Dense):
    """With few features, as a classifier ends, and with many rows, as an autoencoder has them."""

    layer = staticmethod(layers.Dense)
    settings = (
        *Dense.settings,
        Setting((1, 40), options=(10, normal)),
        Setting((64, 128), options=(32, normal)),
        Setting((64, 128), options=(33, normal)),
        Setting((2050, 16), options=(4, normal)),
        Setting((2048, 3), options=(5, whole)),
        Setting((2049, 5), options=(3, whole)),
        Setting((2048, 7), options=(2, normal)),
        Setting((2049, 2), options=(7, normal)),
    )


test_dense = agrees(Dense())
test_own_dense = agrees(OwnDense())
test_softmax = agrees(Softmax())
test_cross_entropy = agrees(CrossEntropy())
test_relu, test_leaky_relu, test_elu, test_gelu, test_tanh, test_sigmoid, test_log_sigmoid = (
    agrees(Activation(*formula)) for formula in FORMULAS
)


def test_the_table_of_formulas_is_the_list_above():
    names = ("relu", "leaky_relu", "elu", "gelu", "tanh", "sigmoid", "log_sigmoid")
    assert tuple(name for name, *_ in FORMULAS) == names
