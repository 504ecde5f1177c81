"""Convolution and pooling, forward and backward, in every mode, against the reference.

Small whole numbers must agree exactly, since float32 adds them without rounding in any order: that
finds a dropped term. Other numbers must agree within derived bounds.
"""

from typing import Any

import numpy as np

from jaxcv import ops, reference
from jaxcv.verification import minimal_filtering
from jaxcv.verification.bounds import FLOAT32, ULPS, summation
from jaxcv.verification.running_error import Bounded
from tests.agreement import Drawn, Op, Setting, agrees, as_type, wide

DIVISION = 2 * FLOAT32 * ULPS["divide"]
ROUNDOFF = {"bfloat16": 2.0**-8, "float16": 2.0**-11}


def numbers(rng: np.random.Generator, shape: tuple[int, ...], setting: Setting) -> np.ndarray:
    """Whole numbers from −2 to 2, whose sums even 11 bits hold, or normal ones."""
    if setting.options[0] == "whole":
        return as_type(rng.integers(-2, 3, shape), setting.dtype)
    size = np.exp(rng.uniform(-2, 2)) if setting.dtype != "float16" else 1.0
    return as_type(size * rng.standard_normal(shape), setting.dtype)


def bound(setting: Setting, value: np.ndarray, factor: float, magnitude: np.ndarray) -> Bounded:
    """Exact for whole numbers, else a multiple of what the sum of the magnitudes is."""
    return Bounded(value, 0.0 if setting.options[0] == "whole" else factor * magnitude)


def convolution(shape, kernel, stride: Any, padding: Any, kind="whole", dtype="float32") -> Setting:
    return Setting(shape, dtype, (kind, kernel, stride, padding))


class Convolution(Op):
    """Of x with a kernel, and a bias added."""

    settings = (
        convolution((2, 6, 5, 3), (3, 3, 3, 4), 1, "same"),
        convolution((2, 7, 6, 2), (3, 2, 2, 3), (2, 1), ((1, 0), (2, 1))),
        convolution((1, 1, 1, 1), (1, 1, 1, 1), 1, "valid"),
        convolution((2, 5, 5, 2), (2, 2, 2, 2), 3, "valid"),  # stride larger than the kernel
        convolution((2, 5, 4, 3), (5, 4, 3, 2), 1, "valid"),  # kernel as large as the image
        convolution((1, 7, 7, 1), (3, 3, 1, 2), 2, "same"),
        convolution((3, 4, 6, 2), (1, 1, 2, 3), 2, "valid"),
        convolution((4, 8, 8, 4), (3, 3, 4, 8), 2, "same", "normal"),
        convolution((2, 6, 5, 3), (3, 3, 3, 4), 1, "same", "normal"),
        convolution((2, 4, 4, 2), (3, 3, 2, 2), 1, 1, "normal", "float64"),
        convolution((2, 4, 4, 2), (3, 3, 2, 2), 1, "same", "normal", "bfloat16"),
        convolution((2, 5, 3, 2), (3, 2, 2, 2), (3, 2), 2, "normal", "float16"),
        convolution((300, 2, 2, 1), (2, 2, 1, 1), 1, "same", "normal"),
        convolution((2, 4, 4, 2), (3, 3, 2, 17), 1, "same"),  # too many features for ops.narrow
        convolution((32, 7, 6, 24), (3, 3, 24, 32), 1, "same", "normal"),  # ops.winograd's
        convolution((64, 3, 5, 32), (3, 3, 32, 24), 1, ((1, 1), (0, 1)), "normal"),
    )

    def draw(self, setting, rng):
        _, kernel, stride, padding = setting.options
        x, k = numbers(rng, setting.shape, setting), numbers(rng, kernel, setting)
        bias = numbers(rng, kernel[3:], setting)
        output = reference.conv2d(x[:1], k, None, stride, padding).shape[1:]
        return Drawn((x, k, bias), (), numbers(rng, (setting.shape[0], *output), setting))

    def call(self, setting):
        _, _, stride, padding = setting.options
        return lambda x, kernel, bias: (ops.conv2d(x, kernel, bias, stride, padding), ())

    def expected(self, setting, drawn):
        _, kernel, *geometry = setting.options
        inputs, dy = tuple(map(wide, drawn.inputs)), wide(drawn.upstream)
        x, k, bias = inputs
        y = reference.conv2d(x, k, bias, *geometry)
        without = reference.conv2d(x, k, None, *geometry)
        size = reference.conv2d(np.abs(x), np.abs(k), np.abs(bias), *geometry)
        values = reference.conv2d_backward(dy, x, k, *geometry)
        sizes = reference.conv2d_backward(np.abs(dy), np.abs(x), np.abs(k), *geometry)
        pixels = int(np.prod(dy.shape[:3]))
        terms = (int(np.prod(kernel[:2])) * kernel[3], pixels, pixels)
        # What has 16 bits is rounded to them before the bias is added, and may be at each step of
        # the bias's sum. The products are added up in float32.
        u = ROUNDOFF.get(setting.dtype, 0.0)
        forward = bound(setting, y, summation(int(np.prod(kernel[:3])) + 1), size)
        extra = u * (np.abs(without) + forward.error)
        factors = (summation(terms[0]), summation(terms[1]), summation(terms[2], u or FLOAT32))
        tiled = minimal_filtering.errors(x, k, dy, *geometry) or (0.0, 0.0)
        gradients = [
            bound(setting, value, factor, magnitude)
            for value, factor, magnitude in zip(values, factors, sizes, strict=True)
        ]
        return (
            Bounded(y, forward.error + extra + tiled[0]),
            *(
                Bounded(gradient.value, gradient.error + more)
                for gradient, more in zip(gradients, (*tiled[1:], 0.0, 0.0), strict=False)
            ),
        )


def pooling(shape, window, stride: Any, padding: Any, kind="whole", dtype="float32") -> Setting:
    return Setting(shape, dtype, (kind, window, stride, padding))


POOLING = (
    pooling((3, 6, 4, 3), 2, None, "valid"),
    pooling((2, 7, 6, 3), 3, 2, "same"),
    pooling((2, 7, 5, 2), (2, 4), (2, 1), ((1, 0), (1, 2))),
    pooling((2, 5, 7, 2), 2, 3, "valid"),  # stride larger than the window
    pooling((1, 1, 1, 1), 1, None, "valid"),
    pooling((2, 4, 8, 1), (4, 8), None, "valid"),  # window as large as the image
    pooling((2, 5, 5, 2), 2, None, "valid"),  # a row and a column left over
    pooling((2, 6, 6, 2), 2, None, "valid", "normal"),
    pooling((2, 6, 5, 2), 3, 2, 1, "normal"),
    pooling((2, 4, 4, 2), 2, None, "valid", "normal", "float64"),
    pooling((2, 4, 4, 2), 2, None, "valid", "normal", "bfloat16"),
    pooling((2, 4, 4, 2), 2, None, "valid", "normal", "float16"),
)


class Pooling(Op):
    """What the three have in common: one input."""

    op: str

    def draw(self, setting, rng):
        x = numbers(rng, setting.shape, setting)
        y = getattr(reference, self.op)(x, *setting.options[1:])
        return Drawn((x,), (), numbers(rng, y.shape, setting))

    def call(self, setting):
        return lambda x: (getattr(ops, self.op)(x, *setting.options[1:]), ())

    def results(self, setting, drawn):
        """Value and gradient, and both of the magnitudes."""
        x, dy = wide(drawn.inputs[0]), wide(drawn.upstream)
        forward = getattr(reference, self.op)
        backward = getattr(reference, f"{self.op}_backward")
        return (
            forward(x, *setting.options[1:]),
            forward(np.abs(x), *setting.options[1:]),
            backward(dy, x, *setting.options[1:]),
            backward(np.abs(dy), x, *setting.options[1:]),
        )


class MaxPool(Pooling):
    """Whole numbers have many ties."""

    op, settings = "max_pool2d", POOLING

    def expected(self, setting, drawn):
        y, _, dx, size = self.results(setting, drawn)
        window = setting.options[1]
        overlaps = window**2 if isinstance(window, int) else window[0] * window[1]
        return Bounded(y), bound(setting, dx, summation(overlaps), size)


class AvgPool(Pooling):
    """Whole numbers are divided exactly by windows of a power of two."""

    op = "avg_pool2d"
    # Thirds and ninths are no whole numbers' business.
    settings = tuple(s for s in POOLING if s.options[:2] != ("whole", 3))

    def expected(self, setting, drawn):
        y, size, dx, dsize = self.results(setting, drawn)
        window = setting.options[1]
        elements = window**2 if isinstance(window, int) else window[0] * window[1]
        # The sum of 16 bits, and what overlapping windows add to a gradient, may be rounded to
        # them each time.
        factor = summation(2 * elements, ROUNDOFF.get(setting.dtype, FLOAT32)) + DIVISION
        return bound(setting, y, factor, size), bound(setting, dx, factor, dsize)


class GlobalAvgPool(Pooling):
    """Over images of a power of two pixels whole numbers are exact."""

    op = "global_avg_pool2d"
    settings = (
        Setting((3, 4, 8, 5), options=("whole",)),
        Setting((1, 1, 1, 1), options=("whole",)),
        Setting((2, 5, 7, 3), options=("normal",)),
        Setting((2, 5, 7, 3), "bfloat16", ("normal",)),
        Setting((2, 3, 3, 2), "float16", ("normal",)),
        Setting((2, 3, 3, 2), "float64", ("normal",)),
        Setting((2, 30, 31, 1), options=("normal",)),
    )

    def expected(self, setting, drawn):
        y, size, dx, dsize = self.results(setting, drawn)
        pixels = setting.shape[1] * setting.shape[2]
        factor = summation(pixels) + 2 * DIVISION
        return bound(setting, y, factor, size), bound(setting, dx, 2 * DIVISION, dsize)


test_conv2d = agrees(Convolution())
test_max_pool2d = agrees(MaxPool())
test_avg_pool2d = agrees(AvgPool())
test_global_avg_pool2d = agrees(GlobalAvgPool())
