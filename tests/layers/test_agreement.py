"""Layers, forward and backward, in every mode, against the reference within derived bounds."""

from typing import Any

import numpy as np

from jaxcv import layers, reference
from jaxcv.verification.bounds import FLOAT32
from jaxcv.verification.cases.normalization import Standardized
from jaxcv.verification.running_error import Bounded, rsqrt
from tests.agreement import Drawn, Op, Setting, agrees, as_type, wide

# Not those that the functions take when they are not given any.
MOMENTUM, EPSILON = 0.7, 2e-3


def numbers(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Normal, of a size between 1/30 and 30, up to 30 deviations from zero."""
    size = np.exp(rng.uniform(-3.4, 3.4)) if dtype != "float16" else 1.0
    offset = rng.choice([0.0, 1.0, 30.0])
    return as_type(size * (rng.standard_normal(shape) + offset), dtype)


def params_type(dtype: str) -> str:
    return "float64" if dtype == "float64" else "float32"


def given_float32(value: float, dtype: str) -> Bounded:
    """A Python number, which float32 rounds."""
    return Bounded(value, 0.0 if dtype == "float64" else FLOAT32 * abs(value))


class Normalization(Op):
    """What the three have in common: a scale and a bias, each there or not."""

    def draw(self, setting: Setting, rng: np.random.Generator) -> Drawn:
        x = numbers(rng, setting.shape, setting.dtype)
        channels, kind = setting.shape[-1:], params_type(setting.dtype)
        affine = {
            "scale": as_type(rng.choice([-1, 1], channels) * rng.uniform(0.5, 2, channels), kind),
            "bias": as_type(rng.standard_normal(channels), kind),
        }
        given = [affine[name] for name in self.present(setting)]
        dy = as_type(rng.standard_normal(setting.shape), setting.dtype)
        return Drawn((x, *given), self.held(setting, rng), dy)

    def held(self, setting: Setting, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        return ()

    def present(self, setting: Setting) -> tuple[str, ...]:
        return tuple(name for name in ("scale", "bias") if f"no {name}" not in setting.options)

    def affine(self, setting: Setting, given):
        named = dict(zip(self.present(setting), given, strict=False))
        return named.get("scale"), named.get("bias")

    def with_affine(self, z: Bounded, scale, bias) -> Bounded:
        scaled = z if scale is None else z * wide(scale)
        return scaled if bias is None else scaled + wide(bias)

    def gradients(self, setting: Setting, z: Bounded, dx: Bounded, dy, values) -> list[Bounded]:
        """dx, and those of scale and bias that there are."""
        others = tuple(range(dy.ndim - 1))
        formulas = {"scale": (Bounded(dy) * z).sum(others), "bias": Bounded(dy).sum(others)}
        named: dict[str, Any] = dict(zip(("scale", "bias"), values[1:], strict=True))
        given = self.present(setting)
        return [
            Bounded(values[0], dx.error),
            *(Bounded(named[name], formulas[name].error) for name in given),
        ]


class BatchNormTraining(Normalization):
    settings = (
        Setting((4, 5, 3, 6)),
        Setting((6, 3), "bfloat16", ("no scale",)),
        Setting((1, 4, 3, 1), options=("no bias",)),
        Setting((300, 1, 1, 2), options=("no scale", "no bias")),
        Setting((4, 3, 2), "float64"),
        Setting((3, 2, 2, 2), "float16"),
    )

    def held(self, setting, rng):
        channels, kind = setting.shape[-1], params_type(setting.dtype)
        return (
            as_type(rng.standard_normal(channels), kind),
            as_type(rng.uniform(0.5, 2, channels), kind),
        )

    def call(self, setting):
        def function(x, *given):
            scale, bias = self.affine(setting, given[:-2])
            y, *statistics = layers.batch_norm(
                x, scale, bias, *given[-2:], momentum=MOMENTUM, epsilon=EPSILON
            )
            return y, tuple(statistics)

        return function

    def expected(self, setting, drawn):
        x, dy = wide(drawn.inputs[0]), wide(drawn.upstream)
        scale, bias = self.affine(setting, drawn.inputs[1:])
        axes = tuple(range(x.ndim - 1))
        mean, var = drawn.held
        y, *moved = reference.batch_norm(
            x, scale, bias, mean, var, momentum=MOMENTUM, epsilon=EPSILON
        )
        parts = Standardized(x, axes, EPSILON)
        statistics = [
            given_float32(MOMENTUM, setting.dtype) * wide(old)
            + given_float32(1 - MOMENTUM, setting.dtype) * new.reshape(setting.shape[-1:])
            for old, new in zip(drawn.held, (parts.mean, parts.variance), strict=True)
        ]
        values = reference.batch_norm_backward(dy, x, scale, EPSILON)
        dz = Bounded(dy) if scale is None else Bounded(dy) * wide(scale)
        return (
            Bounded(y, self.with_affine(parts.z, scale, bias).error),
            *(Bounded(m, s.error) for m, s in zip(moved, statistics, strict=True)),
            *self.gradients(setting, parts.z, parts.pull(dz), dy, values),
        )


class BatchNormEvaluation(BatchNormTraining):
    settings = (
        Setting((4, 5, 3, 6)),
        Setting((6, 3), "bfloat16", ("no scale",)),
        Setting((1, 4, 3, 1), options=("no bias",)),
        Setting((4, 3, 2), "float64", ("no scale", "no bias")),
    )

    def call(self, setting):
        def function(x, *given):
            scale, bias = self.affine(setting, given[:-2])
            y, *statistics = layers.batch_norm(
                x, scale, bias, *given[-2:], training=False, momentum=MOMENTUM, epsilon=EPSILON
            )
            return y, tuple(statistics)

        return function

    def expected(self, setting, drawn):
        x, dy = wide(drawn.inputs[0]), wide(drawn.upstream)
        scale, bias = self.affine(setting, drawn.inputs[1:])
        mean, var = map(wide, drawn.held)
        root = rsqrt(Bounded(var) + given_float32(EPSILON, setting.dtype))
        z = (Bounded(x) - mean) * root
        y, *_ = reference.batch_norm(x, scale, bias, mean, var, training=False, epsilon=EPSILON)
        values = reference.batch_norm_backward(dy, x, scale, EPSILON, False, mean, var)
        dz = Bounded(dy) if scale is None else Bounded(dy) * wide(scale)
        return (
            Bounded(y, self.with_affine(z, scale, bias).error),
            Bounded(mean),
            Bounded(var),
            *self.gradients(setting, z, dz * root, dy, values),
        )


class GroupNorm(Normalization):
    settings = (
        Setting((4, 5, 3, 6), options=(3,)),
        Setting((6, 3), "bfloat16", (3, "no scale")),
        Setting((1, 4, 3, 1), options=(1, "no bias")),
        Setting((2, 3, 2, 6), options=(6, "no scale", "no bias")),
        Setting((2, 3, 4), "float64", (2,)),
        Setting((2, 2, 2, 4), "float16", (2,)),
    )

    def call(self, setting):
        def function(x, *given):
            scale, bias = self.affine(setting, given)
            return layers.group_norm(x, scale, bias, setting.options[0], EPSILON), ()

        return function

    def expected(self, setting, drawn):
        x, dy = wide(drawn.inputs[0]), wide(drawn.upstream)
        scale, bias = self.affine(setting, drawn.inputs[1:])
        groups = setting.options[0]
        split = (*x.shape[:-1], groups, x.shape[-1] // groups)
        parts = Standardized(x.reshape(split), (*range(1, x.ndim - 1), x.ndim), EPSILON)
        z = parts.z.reshape(x.shape)
        y = reference.group_norm(x, scale, bias, groups, EPSILON)
        values = reference.group_norm_backward(dy, x, scale, groups, EPSILON)
        dz = Bounded(dy) if scale is None else Bounded(dy) * wide(scale)
        dx = parts.pull(dz.reshape(split)).reshape(x.shape)
        return (
            Bounded(y, self.with_affine(z, scale, bias).error),
            *self.gradients(setting, z, dx, dy, values),
        )


class LayerNorm(Normalization):
    settings = (
        Setting((4, 5, 3, 6)),
        Setting((6, 3), "bfloat16", ("no scale",)),
        Setting((3, 1), options=("no bias",)),
        Setting((300,), options=("no scale", "no bias")),
        Setting((3, 4), "float64"),
        Setting((2, 6), "float16"),
    )

    def call(self, setting):
        def function(x, *given):
            return layers.layer_norm(x, *self.affine(setting, given), EPSILON), ()

        return function

    def expected(self, setting, drawn):
        x, dy = wide(drawn.inputs[0]), wide(drawn.upstream)
        scale, bias = self.affine(setting, drawn.inputs[1:])
        parts = Standardized(x, (x.ndim - 1,), EPSILON)
        y = reference.layer_norm(x, scale, bias, EPSILON)
        values = reference.layer_norm_backward(dy, x, scale, EPSILON)
        dz = Bounded(dy) if scale is None else Bounded(dy) * wide(scale)
        return (
            Bounded(y, self.with_affine(parts.z, scale, bias).error),
            *self.gradients(setting, parts.z, parts.pull(dz), dy, values),
        )


class Dropout(Op):
    """Given its mask; the rate is an array, so that examples of all rates share a program."""

    settings = (
        Setting((4, 5, 3, 6)),
        Setting((6, 3), "bfloat16"),
        Setting((1, 1, 1, 1)),
        Setting((7,), "float64"),
        Setting((3, 4), "float16"),
    )

    def draw(self, setting, rng):
        rate = rng.choice([0.0, 0.1, 0.5, 1.0, rng.uniform(0, 0.99)])
        return Drawn(
            (numbers(rng, setting.shape, setting.dtype),),
            (rng.random(setting.shape) >= rate, as_type(rate, params_type(setting.dtype))),
            as_type(rng.standard_normal(setting.shape), setting.dtype),
        )

    def call(self, setting):
        return lambda x, mask, rate: (layers.dropout(x, mask, rate), ())

    def expected(self, setting, drawn):
        mask, rate = drawn.held

        def scaled(array):
            value = reference.dropout(array, mask, float(rate))
            kept = 1.0 - float(rate)
            if kept == 0:
                return Bounded(value)
            share = np.full(array.shape, kept)
            error = (Bounded(np.abs(array)) / Bounded(share, FLOAT32 * share)).error
            return Bounded(value, np.where(mask, error, 0.0))

        return scaled(wide(drawn.inputs[0])), scaled(wide(drawn.upstream))


test_batch_norm_training = agrees(BatchNormTraining())
test_batch_norm_evaluation = agrees(BatchNormEvaluation())
test_group_norm = agrees(GroupNorm())
test_layer_norm = agrees(LayerNorm())
test_dropout = agrees(Dropout())
