"""Rectified linear units whose result is computed once."""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxcv.ops.arrays import Values
from jaxcv.ops.separate import computed_once


@jax.custom_jvp
def relu(x: Float[Values, "..."]) -> Float[Array, "..."]:
    """max(x, 0), with the gradient 0 at 0.

    Equal to ``nn.relu`` bit for bit. On CPU the result is written out once for all its uses, and
    the gradient asks it where x was positive, not x: behind a normalisation or a shortcut x would
    be computed anew for each. It is kept until then, where x would not be: memory for time. Not for
    what pooling alone follows: there the rectification costs nothing on the way.
    """
    return computed_once(jnp.maximum(x, 0))


@relu.defjvp
def _derivative(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    y = relu(*primals)
    # Turned round, for the gradient, it is what is let through that is computed once.
    return y, jnp.where(y > 0, computed_once(tangents[0]), 0)
