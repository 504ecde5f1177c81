"""Parts of a program that XLA:CPU compiles by themselves."""

from collections.abc import Callable

import jax
from jax import Array
from jax.experimental.xla_metadata import set_xla_metadata


def separately(function: Callable[..., Array], *arguments: Array) -> Array:
    """The function of the arguments, as a computation that is fused with nothing around it.

    XLA:CPU fuses a chain of sums of slices into one loop, which computes each link anew for every
    element of the next; a barrier is dropped before it fuses. A call that must not be inlined
    stays.
    """
    with set_xla_metadata(inlineable="false"):
        return jax.jit(function)(*arguments)
