"""Does a computation agree with the reference, as far as its own roundings explain?

An op under test gives settings (shapes, types), examples of each drawn from a number, and what the
reference makes of an example, with the bound that running error analysis puts on a float32 program.
"""

import abc
import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jaxcv.verification.bounds import FLOAT32, SMALLEST
from jaxcv.verification.modes import MODES
from jaxcv.verification.running_error import Bounded

EXAMPLES = int(os.environ.get("JAXCV_EXAMPLES", "200"))
LANES = 2
# The first of each op's: without jit every primitive compiles by itself, for every shape.
EAGER_SETTINGS = 2
FLOAT64 = 2.0**-53
# A subnormal number may be flushed to zero before it is multiplied, by gradients and scales of a
# few units here (Higham 2002, equation 2.8).
LOST = 16 * SMALLEST


class Setting(NamedTuple):
    """Shape and type of an op's first input, and what else its compiled program depends on."""

    shape: tuple[int, ...]
    dtype: str = "float32"
    options: tuple[Any, ...] = ()


class Drawn(NamedTuple):
    """One call: what is differentiated, what is not, and the gradient of the output."""

    inputs: tuple[np.ndarray, ...]
    held: tuple[np.ndarray, ...]
    upstream: np.ndarray


class Op(abc.ABC):
    """An op, its settings and its expected results."""

    settings: Sequence[Setting]

    @abc.abstractmethod
    def draw(self, setting: Setting, rng: np.random.Generator) -> Drawn:
        """An example; floating-point arrays in types that hold them exactly."""

    @abc.abstractmethod
    def call(self, setting: Setting) -> Callable[..., tuple[jax.Array, tuple[jax.Array, ...]]]:
        """The op as a function of inputs and held: its output, and what else it returns."""

    @abc.abstractmethod
    def expected(self, setting: Setting, drawn: Drawn) -> tuple[Bounded, ...]:
        """Output, what else, then the gradient of each input, as float32 may compute them."""

    def lanes(self, which: int, seed: int) -> tuple[tuple[np.ndarray, ...], tuple[Bounded, ...]]:
        """Stacked arguments (upstream first) and stacked expectations of one example."""
        setting, rng = self.settings[which], np.random.default_rng(seed)
        drawn = [self.draw(setting, rng) for _ in range(LANES)]
        arguments = [(lane.upstream, *lane.inputs, *lane.held) for lane in drawn]
        expected = [self.expected(setting, lane) for lane in drawn]
        return (
            tuple(np.stack(parts) for parts in zip(*arguments, strict=True)),
            tuple(
                Bounded(np.stack([p.value for p in parts]), np.stack([p.error for p in parts]))
                for parts in zip(*expected, strict=True)
            ),
        )

    @functools.cache  # noqa: B019 - ops are constants of a test file
    def program(self, which: int, mode: str) -> Callable[..., tuple[jax.Array, ...]]:
        """Outputs and gradients in one mode, compiled once for all examples of a setting."""
        setting = self.settings[which]
        function = self.call(setting)
        inputs = len(self.draw(setting, np.random.default_rng(0)).inputs)

        def both(upstream, *arguments):
            moved, held = arguments[:inputs], arguments[inputs:]
            y, pull, others = jax.vjp(lambda *m: function(*m, *held), *moved, has_aux=True)
            return (y, *others, *pull(upstream))

        return MODES[mode](both)

    def check(self, which: int, seed: int) -> None:
        """One example of one setting in every mode."""
        setting, (arguments, expected) = self.settings[which], self.lanes(which, seed)
        for mode in MODES:
            if mode == "eager" and which >= EAGER_SETTINGS:
                continue
            # Lanes matter where they are computed together.
            lanes = 1 if mode in ("eager", "jit") else LANES
            with double_precision(setting.dtype == "float64"):
                results = self.program(which, mode)(*(argument[:lanes] for argument in arguments))
            for i, (result, wanted) in enumerate(zip(results, expected, strict=True)):
                part = Bounded(wanted.value[:lanes], wanted.error[:lanes])
                assert_within(result, part, f"result {i} of {setting}, {mode}")


@contextlib.contextmanager
def double_precision(enabled: bool) -> Iterator[None]:
    """64-bit types, where wanted."""
    with jax.enable_x64(True) if enabled else contextlib.nullcontext():
        yield


def assert_within(actual: jax.Array | np.ndarray, expected: Bounded, what: str = "") -> None:
    """Every element is within its bound, widened or narrowed to the type that it is given in."""
    array = np.asarray(actual)
    bounded = rounded_to(expected, array.dtype)
    assert array.shape == bounded.value.shape, what
    assert np.isfinite(bounded.error).all(), f"{what}: conditioned too badly to tell anything"
    error = np.abs(array.astype(np.float64) - bounded.value)
    # What has no bound at all is exact; else subnormal numbers may be lost.
    bound = bounded.error + (LOST if bounded.error.any() else 0.0)
    if not (error <= bound).all():
        with np.errstate(divide="ignore", invalid="ignore"):
            fraction = np.max(np.where(error == 0, 0.0, error / bound))
        raise AssertionError(f"{what}: up to {fraction:.3g} times its bound")


def rounded_to(expected: Bounded, dtype: np.dtype) -> Bounded:
    """What a bound for float32 is for another type.

    A running error bound is a polynomial in the unit roundoff without a constant term, so that
    float64's is less than the quotient of the roundoffs times float32's; the reference errs as
    much. Types of 16 bits are computed in float32 and rounded once.
    """
    if dtype == np.float32:
        return expected
    if dtype == np.float64:
        return Bounded(expected.value, 2 * FLOAT64 / FLOAT32 * expected.error)
    info = ml_dtypes.finfo(dtype)
    rounding = float(info.eps) / 2 * (np.abs(expected.value) + expected.error)
    smallest = float(info.smallest_subnormal) / 2 * (expected.error > 0)
    return Bounded(expected.value, expected.error + rounding + smallest)


def as_type(array: np.ndarray, dtype: str) -> np.ndarray:
    """Rounded to a type: the numbers that both sides are given."""
    return array.astype(jnp.dtype(dtype))


def wide(array: Any) -> np.ndarray:
    """In float64, of which NumPy's arithmetic is."""
    return np.asarray(array).astype(np.float64)


def agrees(op: Op) -> Callable[[], None]:
    """The test of an op: each setting once, then EXAMPLES drawn ones, each in every mode."""

    @settings(max_examples=EXAMPLES)
    @given(which=st.integers(0, len(op.settings) - 1), seed=st.integers(0, 2**32 - 1))
    def test(which: int, seed: int) -> None:
        op.check(which, seed)

    for i in range(len(op.settings)):
        test = example(which=i, seed=i)(test)
    return test
