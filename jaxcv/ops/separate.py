"""Parts of a program that XLA:CPU compiles by themselves."""

from collections.abc import Callable

import jax
from jax import Array, lax
from jax.experimental.xla_metadata import set_xla_metadata


def separately(function: Callable[..., Array], *arguments: Array) -> Array:
    """The function of the arguments, as a computation that is fused with nothing around it.

    XLA:CPU fuses a chain of sums of slices into one loop, which computes each link anew for every
    element of the next; a barrier is dropped before it fuses. A call that must not be inlined
    stays.
    """
    with set_xla_metadata(inlineable="false"):
        return jax.jit(function)(*arguments)


def written_out(x: Array) -> Array:
    """x itself, which XLA:CPU writes to memory before it is used: a call that returns its argument.

    Inside a compiled program nothing is copied. The barrier keeps JAX from dropping the call.
    """
    return separately(lax.optimization_barrier, x)


def computed_once(x: Array) -> Array:
    """x itself; on CPU written out before it is used.

    XLA:CPU fuses what makes an array into each of its uses, and computes it anew for each; along
    the shortcuts of a residual network that is every block before. Other backends fuse the uses
    into one pass and are left to it.
    """
    return lax.platform_dependent(x, cpu=written_out, default=lambda x: x)
