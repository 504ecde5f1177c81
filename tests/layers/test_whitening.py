"""The kernel that whitens patches, and the layer that keeps it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv.layers import Whitening, whitening_kernel
from jaxcv.layers.whitening import EPSILON


def correlated(rng: np.random.Generator, n: int = 40) -> np.ndarray:
    """Smooth images whose channels have much in common, and a mean."""
    noise = rng.standard_normal((n, 9, 8, 3)).cumsum(1).cumsum(2)
    return noise @ rng.standard_normal((3, 3)) + 2.0


def patches(images: np.ndarray, window: int) -> np.ndarray:
    """Every patch, written out, as a row."""
    n, height, width, _ = images.shape
    rows, columns = range(height - window + 1), range(width - window + 1)
    return np.stack(
        [
            images[k, i : i + window, j : j + window].reshape(-1)
            for k in range(n)
            for i in rows
            for j in columns
        ]
    )


@pytest.mark.parametrize("window", [2, 3])
def test_responses_are_uncorrelated_and_of_one_size(rng, window):
    images = correlated(rng)
    with jax.enable_x64(True):
        kernel = np.asarray(whitening_kernel(jnp.asarray(images), window))
    size = window**2 * 3
    assert kernel.shape == (window, window, 3, 2 * size)
    p = patches(images, window)
    responses = p @ kernel.reshape(size, -1)
    eigenvalues = np.linalg.eigvalsh(p.T @ p / len(p))[::-1]
    expected = np.diag(eigenvalues / (eigenvalues + EPSILON))
    half = responses[:, :size]
    np.testing.assert_allclose(half.T @ half / len(p), expected, atol=1e-9)
    np.testing.assert_array_equal(responses[:, size:], -half)


def test_what_never_varies_is_not_magnified(rng):
    flat = np.broadcast_to(rng.standard_normal((9, 1, 1, 3)), (9, 4, 4, 3))
    kernel = np.asarray(whitening_kernel(jnp.asarray(flat, jnp.float32)))
    assert np.isfinite(kernel).all()
    assert np.abs(kernel).max() <= 1.001 * EPSILON**-0.5


def test_what_never_varies_is_not_blown_up_without_end():
    """Without variance a filter is an eigenvector over √(5e-4), as in the public record."""
    kernel = whitening_kernel(jnp.zeros((4, 5, 5, 3)))
    norms = np.sqrt(np.sum(np.square(kernel), axis=(0, 1, 2)))
    np.testing.assert_allclose(norms, np.full(24, 1 / np.sqrt(5e-4)), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_layer_computes_in_the_type_of_the_images(rng, dtype):
    images = jnp.asarray(correlated(rng, 3), dtype)
    layer = Whitening()
    variables: Any = layer.init(jax.random.key(0), images)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    y: Any = layer.apply(variables, images)
    assert y.dtype == dtype


def test_the_layer_trains_its_bias_alone(rng):
    images = jnp.asarray(correlated(rng, 5), jnp.float32)
    layer = Whitening()
    variables: Any = layer.init(jax.random.key(0), images)
    assert {k: v.shape for k, v in variables["params"].items()} == {"bias": (24,)}
    assert not variables["batch_stats"]["kernel"].any()
    kernel = whitening_kernel(images)
    bias = jnp.asarray(rng.standard_normal(24), jnp.float32)
    y, moved = layer.apply(
        {"params": {"bias": bias}, "batch_stats": {"kernel": kernel}},
        images,
        mutable=["batch_stats"],
    )
    np.testing.assert_array_equal(moved["batch_stats"]["kernel"], kernel)
    assert y.shape == (5, 8, 7, 24)
    expected = patches(np.asarray(images), 2) @ np.asarray(kernel).reshape(12, -1) + bias
    np.testing.assert_allclose(np.reshape(y, (-1, 24)), expected, atol=2e-3)


def test_the_gradient_of_a_bias_of_16_bits_is_added_up_in_more():
    images = jnp.ones((16, 17, 33, 3), jnp.bfloat16)
    layer = Whitening()
    variables: Any = layer.init(jax.random.key(0), images)
    params = jax.tree.map(lambda x: x.astype(jnp.bfloat16), variables["params"])

    def total(params):
        y: Any = layer.apply({**variables, "params": params}, images)
        return jnp.sum(y.astype(jnp.float32))

    gradient = jax.jit(jax.grad(total))(params)["bias"]
    np.testing.assert_array_equal(gradient.astype(np.float32), 16 * 16 * 32)
