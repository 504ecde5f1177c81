"""What the ops accept: batches of images in a floating-point dtype, from JAX or NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

Values = Array | np.ndarray
"""An array of JAX or of NumPy; the latter becomes JAX's, in the widest dtype that is enabled."""


def as_images(x: Values) -> Array:
    """Returns ``x`` as a JAX array after checking that it is a batch of images.

    Raises:
        ValueError: not (batch, height, width, channels), empty, or not floating-point.
    """
    x = jnp.asarray(x)
    if x.ndim != 4:
        raise ValueError(f"x must be (batch, height, width, channels), not {x.shape}")
    if 0 in x.shape:
        raise ValueError(f"x must not be empty, but its shape is {x.shape}")
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"x must be of a floating-point dtype, not {x.dtype}")
    return x


def as_kernel(kernel: Values, x: Array) -> Array:
    """Returns ``kernel`` as a JAX array after checking that it fits the images ``x``.

    Raises:
        ValueError: not (rows, columns, in, out), empty, or of other channels or dtype than ``x``.
    """
    kernel = jnp.asarray(kernel)
    if kernel.ndim != 4:
        raise ValueError(f"kernel must be (rows, columns, in, out), not {kernel.shape}")
    if 0 in kernel.shape:
        raise ValueError(f"kernel must not be empty, but its shape is {kernel.shape}")
    if kernel.shape[2] != x.shape[3]:
        raise ValueError(f"x has {x.shape[3]} channels, but the kernel takes {kernel.shape[2]}")
    if kernel.dtype != x.dtype:
        raise ValueError(f"x is {x.dtype}, but the kernel {kernel.dtype}: they must be the same")
    return kernel


def as_bias(bias: Values, kernel: Array) -> Array:
    """Returns ``bias`` as a JAX array after checking that it has a number for each feature.

    Raises:
        ValueError: another shape or dtype than ``kernel`` asks for.
    """
    bias = jnp.asarray(bias)
    if bias.shape != kernel.shape[3:] or bias.dtype != kernel.dtype:
        raise ValueError(
            f"bias must be {kernel.shape[3:]} of {kernel.dtype}, not {bias.shape} of {bias.dtype}"
        )
    return bias


def explicitly_sharded(*arrays: Array) -> bool:
    """Whether types say how devices share one of them: merging axes is refused there."""
    return any(axes is not None for x in arrays for axes in jax.typeof(x).sharding.spec)


def varying_alike(*arrays: Array) -> list[Array]:
    """Arrays that vary between the same devices under `jax.shard_map`; the same arrays elsewhere.

    A gradient of our own is what varies as what it was computed from, and is refused for a kernel
    that all devices share. Of one that was cast before, JAX adds the devices' gradients up.
    """
    axes = frozenset[str]().union(*(jax.typeof(x).vma for x in arrays))
    missing = [tuple(sorted(axes - jax.typeof(x).vma)) for x in arrays]
    return [
        lax.pcast(x, names, to="varying") if names else x
        for x, names in zip(arrays, missing, strict=True)
    ]
