"""What batch, group and layer normalisation share: (x − mean) / √(variance + ε)."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def widened(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """x in float32 at least, which layers compute in.

    Once for all that follows: the gradients of several narrow uses would each be rounded before
    they are added.
    """
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def moments(
    x: Float[Array, "..."], axes: Sequence[int]
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Mean and biased variance over some axes, kept as 1.

    Two passes, E[(x − E[x])²] and not E[x²] − E[x]²: a common offset costs no digits
    (Chan, Golub & LeVeque 1983).
    """
    mean = jnp.mean(x, axis=axes, keepdims=True)
    return mean, jnp.mean(jnp.square(x - mean), axis=axes, keepdims=True)


def standardized(
    x: Float[Array, "..."],
    mean: Float[Array, "..."],
    variance: Float[Array, "..."],
    epsilon: float | Float[Array, ""],
) -> Float[Array, "..."]:
    """(x − mean) / √(variance + ε), in the wider type of x and the statistics."""
    return (x - mean) * jax.lax.rsqrt(variance + epsilon)


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
