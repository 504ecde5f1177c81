"""What matrix products and convolutions are rounded to: measured, not looked up.

Accelerators may round the factors of a product to TensorFloat-32 (10 bits) or bfloat16 (7 bits)
before they multiply. Products of 1 + 2^−b with an identity show how many bits survive.
"""

import contextlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcv.verification.bounds import unit_roundoff
from jaxcv.verification.rows import Row

_NAMES: Mapping[int, str] = MappingProxyType({23: "float32", 10: "tf32", 7: "bfloat16"})


class Precision(NamedTuple):
    """A setting of JAX, and the bits after the leading one that factors keep under it."""

    setting: str
    bits: int

    @property
    def label(self) -> str:
        """As the table shows it."""
        return f"{self.setting} ({_NAMES.get(self.bits, f'{self.bits} bits')})"

    @property
    def roundoff(self) -> float:
        """Unit roundoff of the factors; of bfloat16 where even fewer bits survived."""
        return unit_roundoff(max(self.bits, 7))


@contextlib.contextmanager
def setting(name: str) -> Iterator[None]:
    """`highest`, or `default`: what the user or the backend has chosen."""
    if name == "default":
        yield
        return
    with jax.default_matmul_precision(name):
        yield


def measure(name: str) -> Precision:
    """Bits that survive in matrix products and in convolutions under a setting: the fewest."""
    size = 128
    bits = np.arange(1, 24)
    values = (1 + 2.0 ** -np.resize(bits, size)).astype(np.float32)
    matrix = np.tile(values[:, None], (1, size))
    images = np.tile(values, (2, 16, 16, 1))
    kernel = np.zeros((3, 3, size, size), np.float32)
    kernel[1, 1] = np.eye(size)
    with setting(name):
        product = jax.jit(jnp.matmul)(matrix, np.eye(size, dtype=np.float32))
        convolved = jax.jit(
            lambda x, k: jax.lax.conv_general_dilated(
                x, k, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
        )(images, kernel)
    kept = (np.asarray(product) == matrix).all(axis=1) & (np.asarray(convolved) == images).all(
        axis=(0, 1, 2)
    )
    survived = [bool(kept[np.resize(bits, size) == b].all()) for b in bits]
    return Precision(name, int(np.argmin([*survived, False])))


def row(precision: Precision) -> Row:
    """Whether the setting keeps what it must: all of float32 at `highest`, else bfloat16's bits."""
    least = 23 if precision.setting == "highest" else 7
    enough = precision.bits >= least
    return Row(
        op="bits of a factor",
        mode="jit",
        precision=precision.label,
        ulp=0.0 if precision.bits >= 23 else 2.0 ** (22 - precision.bits),
        fraction=0.0 if enough else float("inf"),
        note="" if enough else f"{precision.bits} bits survive, {least} must",
    )
