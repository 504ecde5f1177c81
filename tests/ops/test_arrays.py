"""What is refused in one line, where annotations are not checked."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv.ops.arrays import as_bias, as_images, as_kernel

X = jnp.zeros((2, 4, 4, 3))
KERNEL = jnp.zeros((3, 3, 3, 5))


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (lambda: as_images(X[0]), "must be .batch, height, width, channels."),
        (lambda: as_images(X[:0]), "must not be empty"),
        (lambda: as_images(X.astype(int)), "floating-point"),
        (lambda: as_kernel(KERNEL[0], X), "must be .rows, columns, in, out."),
        (lambda: as_kernel(KERNEL[..., :0], X), "must not be empty"),
        (lambda: as_kernel(KERNEL[:, :, :2], X), "3 channels, but the kernel takes 2"),
        (lambda: as_kernel(KERNEL.astype(jnp.float16), X), "must be the same"),
        (lambda: as_bias(jnp.zeros(4), KERNEL), "bias must be"),
        (lambda: as_bias(jnp.zeros((1, 5)), KERNEL), "bias must be"),
        (lambda: as_bias(jnp.zeros(5, jnp.float16), KERNEL), "bias must be"),
    ],
)
def test_what_does_not_fit(check, words):
    with pytest.raises(ValueError, match=words) as refused:
        check()
    assert "\n" not in str(refused.value)


def test_numpy_becomes_jax():
    x = as_images(np.zeros((1, 2, 2, 1), np.float32))
    assert isinstance(x, jnp.ndarray)
    assert as_bias(np.zeros(5, np.float32), KERNEL).shape == (5,)
