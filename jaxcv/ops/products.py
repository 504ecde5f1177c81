"""Matrix products of rows with a narrow or small kernel, whose gradient is fast on CPU.

XLA:CPU computes the gradient of a kernel with few features, such as a classifier's last, at a tenth
of the rate of other products. Turned round, so that the result has more columns than rows, it is
a product like any other. It pays for certain up to 32 features; with 64 it depends on the inputs.
Microseconds of wall time on two cores, 128 rows, float32, both forms in turn in one run:

=============  =====  ============
in → features  plain  turned round
=============  =====  ============
64 → 10        10     5
512 → 10       220    30
3,072 → 10     890    165
3,072 → 32     919    407
512 → 64       165    196
3,072 → 64     1,040  743
3,072 → 512    2,856  4,999
=============  =====  ============

A sum over very many rows comes nearer yet in two halves, as one batched product. Milliseconds,
10,240 rows:

=============  =====  ======  ====================
in → features  plain  halves  halves, turned round
=============  =====  ======  ====================
256 → 64       5.3    4.9     3.7
64 → 256       4.0    3.4
256 → 100      7.7    6.4     4.6
100 → 256      5.2    3.9
256 → 10       2.3    3.2     0.5
10 → 256       0.6    0.5
=============  =====  ======  ====================

Where an odd number of devices shares the rows, what the halves take from each other has to be sent.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from jaxcv.ops.arrays import explicitly_sharded, varying_alike

_TALL = 2048
"""Rows from which halves pay: at 2,048 rows of 256 → 64 they take 0.7 ms instead of 0.9 ms."""

_SMALL = 2**16
"""Elements of a kernel that halves pay for."""

_NARROW = 32
"""Features up to which the gradient of a kernel is turned round, if it has four times as many
inputs."""

_DTYPES = (jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64)

_PLAIN = (((1,), (0,)), ((), ()))


def dot_general(
    lhs: Array,
    rhs: Array,
    dimension_numbers: lax.DotDimensionNumbers,
    precision: lax.PrecisionLike = None,
    preferred_element_type: jax.typing.DTypeLike | None = None,
    **others: Any,
) -> Array:
    """Stands in for ``lax.dot_general``, as in ``nn.Dense(dot_general=...)``.

    A product of rows with a kernel of few features, or of many rows with a small kernel, takes the
    gradient of this module; anything else is handed to lax as it is. The product has no derivative
    of forward mode then, its gradient has one.
    """
    plain = (
        lhs.ndim == rhs.ndim == 2
        and _as_tuples(dimension_numbers) == _PLAIN
        and lhs.dtype == rhs.dtype
        and lhs.dtype in _DTYPES
        and preferred_element_type is None
        and not explicitly_sharded(lhs, rhs)
        and not any(other is not None for other in others.values())
    )
    if plain and (_narrow(rhs.shape) or _tall(lhs.shape, rhs.shape)):
        # The gradient may be traced where another precision is asked for.
        asked = (
            jax.config.values["jax_default_matmul_precision"] if precision is None else precision
        )
        return _product(*varying_alike(lhs, rhs), asked)
    return lax.dot_general(
        lhs,
        rhs,
        dimension_numbers,
        precision=precision,
        preferred_element_type=preferred_element_type,
        **others,
    )


def _narrow(kernel: Sequence[Any]) -> bool:
    """Whether a kernel has so few features that its gradient pays, however many the rows."""
    inputs, features = kernel
    known = isinstance(inputs, int) and isinstance(features, int)  # no symbols of an export
    return known and features <= min(_NARROW, inputs // 4)


def _tall(x: Sequence[Any], kernel: Sequence[Any]) -> bool:
    """Whether the rows are to be added up in halves; an unknown number of rows is not."""
    known = all(isinstance(size, int) for size in (x[0], *kernel))
    return known and x[0] >= _TALL and math.prod(kernel) <= _SMALL


def _as_tuples(dimension_numbers: Any) -> Any:
    return tuple(tuple(map(tuple, pair)) for pair in dimension_numbers)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _product(
    x: Float[Array, "rows in"], kernel: Float[Array, "in features"], precision: lax.PrecisionLike
) -> Float[Array, "rows features"]:
    return lax.dot_general(x, kernel, _PLAIN, precision=precision)


def _forward(x: Array, kernel: Array, precision: lax.PrecisionLike):
    # Not by _product: a custom rule within this one would have no derivative of its own.
    return lax.dot_general(x, kernel, _PLAIN, precision=precision), (x, kernel)


def _backward(precision: lax.PrecisionLike, residuals: tuple[Array, Array], dy: Array):
    x, kernel = residuals
    dx = lax.dot_general(dy, kernel, (((1,), (1,)), ((), ())), precision=precision)

    def default(x: Array, dy: Array) -> Array:
        return lax.dot_general(x, dy, (((0,), (0,)), ((), ())), precision=precision)

    def cpu(x: Array, dy: Array) -> Array:
        def summed(a: Array, b: Array) -> Array:
            in_halves = _tall(x.shape, kernel.shape)
            return _in_halves(a, b, precision) if in_halves else default(a, b)

        if x.shape[1] <= dy.shape[1]:
            return summed(x, dy)
        # Without the barrier XLA would turn the product back.
        return lax.optimization_barrier(summed(dy, x)).T

    return dx, lax.platform_dependent(x, dy, cpu=cpu, default=default)


_product.defvjp(_forward, _backward)


# Compiled, since an eager reshape of a batch that devices share is refused.
@functools.partial(jax.jit, static_argnums=2)
def _in_halves(
    a: Float[Array, "rows m"], b: Float[Array, "rows n"], precision: lax.PrecisionLike
) -> Float[Array, "m n"]:
    """aᵀ b; of an odd number of rows the last by itself. 16 bits are added up in 32."""
    half = len(a) // 2
    wide = jnp.promote_types(a.dtype, jnp.float32)
    product = functools.partial(jnp.einsum, precision=precision, preferred_element_type=wide)
    halves = [x[: 2 * half].reshape(2, half, x.shape[1]) for x in (a, b)]
    total = jnp.sum(product("hrm,hrn->hmn", *halves), axis=0)
    if len(a) % 2:
        total += product("m,n->mn", a[-1], b[-1])
    return total.astype(a.dtype)
