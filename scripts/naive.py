"""How much slower the loops of `jaxcv.reference` are than the compiled operations.

    make naive

Convolution and pooling at the shapes of CS231n's assignment 2, forward and backward, reference time
divided by operation time; the same quotients stand in the assignment's own output.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcv import ops, reference

PRINTED = {
    ("convolution", "forward"): 279,
    ("convolution", "backward"): 614,
    ("pooling", "forward"): 44,
    ("pooling", "backward"): 28,
}


def seconds(function: Callable[[], Any], repeats: int) -> float:
    """Median seconds of a call, after one that warms up."""
    jax.block_until_ready(function())
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(function())
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def cases() -> dict[tuple[str, str], tuple[Callable[[], Any], Callable[[], Any]]]:
    """Reference and operation of each row: 100 images 31×31×3, 25 kernels 3×3, stride 2."""
    rng = np.random.default_rng(0)
    x, kernel, bias = (
        rng.normal(size=(100, 31, 31, 3)),
        rng.normal(size=(3, 3, 3, 25)),
        np.zeros(25),
    )
    dy = rng.normal(size=(100, 16, 16, 25))
    pad = ((1, 1), (1, 1))
    image, weights, offsets, upstream = (jnp.asarray(a, jnp.float32) for a in (x, kernel, bias, dy))

    convolve = jax.jit(lambda x, k, b: ops.conv2d(x, k, b, 2, pad))
    convolve_back = jax.jit(lambda x, k, b, dy: jax.vjp(convolve, x, k, b)[1](dy))
    big = rng.normal(size=(100, 32, 32, 3))
    dpool = rng.normal(size=(100, 16, 16, 3))
    large, upstream_pool = jnp.asarray(big, jnp.float32), jnp.asarray(dpool, jnp.float32)
    pool = jax.jit(lambda x: ops.max_pool2d(x, 2))
    pool_back = jax.jit(lambda x, dy: jax.vjp(pool, x)[1](dy))
    return {
        ("convolution", "forward"): (
            lambda: reference.conv2d(x, kernel, bias, 2, pad),
            lambda: convolve(image, weights, offsets),
        ),
        ("convolution", "backward"): (
            lambda: reference.conv2d_backward(dy, x, kernel, 2, pad),
            lambda: convolve_back(image, weights, offsets, upstream),
        ),
        ("pooling", "forward"): (lambda: reference.max_pool2d(big, 2), lambda: pool(large)),
        ("pooling", "backward"): (
            lambda: reference.max_pool2d_backward(dpool, big, 2),
            lambda: pool_back(large, upstream_pool),
        ),
    }


def main() -> None:
    print(f"{'':<24}{'reference':>12}{'operation':>12}{'quotient':>10}{'printed':>10}")
    for (layer, way), (slow, fast) in cases().items():
        by_loops, compiled = seconds(slow, 3), seconds(fast, 50)
        quotient = by_loops / compiled
        print(
            f"{layer + ', ' + way:<24}{by_loops * 1e3:>9.2f} ms{compiled * 1e3:>9.3f} ms"
            f"{quotient:>9.0f}×{PRINTED[layer, way]:>9}×"
        )


if __name__ == "__main__":
    main()
