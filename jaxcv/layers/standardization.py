"""What batch, group and layer normalisation share: (x − mean) / √(variance + ε)."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def statistics_dtype(x: Array) -> jnp.dtype:
    """The type that means and variances are computed in: float32 at least."""
    return jnp.promote_types(x.dtype, jnp.float32)


def moments(
    x: Float[Array, "..."], axes: Sequence[int]
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Mean and biased variance over some axes, kept as 1, in float32 at least.

    Two passes, E[(x − E[x])²] and not E[x²] − E[x]²: a common offset costs no digits
    (Chan, Golub & LeVeque 1983).
    """
    x = x.astype(statistics_dtype(x))
    mean = jnp.mean(x, axis=axes, keepdims=True)
    return mean, jnp.mean(jnp.square(x - mean), axis=axes, keepdims=True)


def standardized(
    x: Float[Array, "..."],
    mean: Float[Array, "..."],
    variance: Float[Array, "..."],
    epsilon: float | Float[Array, ""],
) -> Float[Array, "..."]:
    """(x − mean) / √(variance + ε), in the type of the statistics."""
    return (x.astype(mean.dtype) - mean) * jax.lax.rsqrt(variance + epsilon)


def affine(
    z: Float[Array, "... channels"],
    scale: Float[Array, " channels"] | None,
    bias: Float[Array, " channels"] | None,
    dtype: jnp.dtype,
) -> Float[Array, "... channels"]:
    """scale · z + bias where they are given, in the type of the layer's input."""
    if scale is not None:
        z = z * scale
    if bias is not None:
        z = z + bias
    return z.astype(dtype)


def require_examples(x: Float[Array, "..."], name: str) -> None:
    """Refuses an empty batch, whose mean would be 0/0.

    Raises:
        ValueError: some axis of x is empty.
    """
    if x.size == 0:
        raise ValueError(f"{name} needs at least one element, got the shape {x.shape}")
