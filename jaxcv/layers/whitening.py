"""A first layer that is no matter of training: a convolution that whitens the patches it sees.

From Page 2019, "How to train your ResNet 8: bag of tricks", as in Jordan 2024, "94% on CIFAR-10 in
3.29 seconds on a single GPU", section 3.2.
"""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from jaxcv import ops
from jaxcv.constraints import Count

EPSILON = 5e-4


def whitening_kernel(
    images: Float[Array, "n height width channels"], window: int = 2, epsilon: float = EPSILON
) -> Float[Array, "window window channels features"]:
    """A kernel whose responses to the patches of the images are uncorrelated and of one size.

    With C = E[p pᵀ] over all patches p of window × window pixels, no mean subtracted, and its
    eigenpairs (λ, v), the features are v/√(λ + ε) and then their negatives, so that an activation
    function sees both signs; the largest λ first. A feature's mean square is λ/(λ + ε).

    Args:
        images: normalised, at least one.
        window: rows and columns of a patch.
        epsilon: keeps patches that never occur from being magnified without limit.
    """
    rows, columns = images.shape[1] - window + 1, images.shape[2] - window + 1
    shifted = [
        images[:, i : i + rows, j : j + columns] for i in range(window) for j in range(window)
    ]
    patches = jnp.concatenate(shifted, axis=-1).reshape(-1, window**2 * images.shape[-1])
    eigenvalues, eigenvectors = jnp.linalg.eigh(patches.T @ patches / len(patches))
    features = (eigenvectors / jnp.sqrt(eigenvalues + epsilon))[:, ::-1]
    kernel = jnp.concatenate([features, -features], axis=1)
    return kernel.reshape(window, window, images.shape[-1], -1)


class Whitening(nn.Module):
    """A convolution with a `whitening_kernel` that stays as it is, and a bias that is trained.

    The kernel is among the `batch_stats`: it is saved with the network, but has no gradient. Until
    it is computed it is zero.

    Attributes:
        window: rows and columns of a patch
    """

    window: Count = 2

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch out_height out_width features"]:
        """(batch, height − window + 1, width − window + 1, 2 · window² · channels)."""
        channels = x.shape[-1]
        features = 2 * self.window**2 * channels
        shape = (self.window, self.window, channels, features)
        dtype = jnp.promote_types(x.dtype, jnp.float32)
        kernel = self.variable("batch_stats", "kernel", lambda: jnp.zeros(shape, dtype))
        bias = self.param("bias", nn.initializers.zeros, (features,), dtype)
        y = ops.conv2d(x, kernel.value.astype(x.dtype), padding="valid")
        # In float32 beside 16 bits: the gradient of the bias is a sum over all pixels.
        return (y + bias.astype(dtype)).astype(x.dtype)
