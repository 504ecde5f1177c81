"""A deep ReLU network's least squared loss against linear least squares (PyTorch exercise, theory).

With non-negative inputs and weights every pre-activation is non-negative, so ReLU is the identity:
the network is the product of its kernels, a linear map that is not negative either, and any such
map is reached. Its least loss is that of non-negative least squares. Unrestricted, a network whose
hidden layers are two wide at least carries w·x as relu(w·x) − relu(−w·x): it is at most that of
least squares.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from jaxcv import models

SIZES = [(2, (3,)), (3, (2, 2)), (4, (2, 5, 3))]


def network(widths: tuple[int, ...]) -> models.MLP:
    return models.MLP(features=widths, activation="relu", num_classes=1)


def with_kernels(kernels) -> dict:
    return {
        "params": {
            f"Dense_{i}": {
                "kernel": jnp.asarray(kernel),
                "bias": jnp.zeros(kernel.shape[1]),
            }
            for i, kernel in enumerate(kernels)
        }
    }


@functools.partial(jax.jit, static_argnums=0)
def computed(widths: tuple[int, ...], kernels, x: jax.Array) -> jax.Array:
    return jnp.asarray(network(widths).apply(with_kernels(kernels), x[:, None, :, None]))[:, 0]


def outputs(widths: tuple[int, ...], kernels, x: np.ndarray) -> np.ndarray:
    return np.asarray(computed(widths, kernels, x))


def layers(inputs: int, widths: tuple[int, ...]) -> list[tuple[int, int]]:
    sizes = [inputs, *widths, 1]
    return list(itertools.pairwise(sizes))


@settings(max_examples=20)
@given(st.sampled_from(SIZES), st.integers(0, 2**32 - 1))
def test_with_nonnegative_weights_the_network_is_a_nonnegative_linear_map(size, seed):
    inputs, widths = size
    rng = np.random.default_rng(seed)
    with jax.enable_x64(True):
        x = rng.uniform(0, 1, (12, inputs))
        kernels = [rng.uniform(0, 1, shape) for shape in layers(inputs, widths)]
        product = np.linalg.multi_dot(kernels)[:, 0]
        assert (product >= 0).all()
        np.testing.assert_allclose(outputs(widths, kernels, x), x @ product, rtol=1e-12)


@settings(max_examples=20)
@given(st.sampled_from(SIZES), st.integers(0, 2**32 - 1))
def test_its_least_loss_is_that_of_nonnegative_least_squares(size, seed):
    inputs, widths = size
    rng = np.random.default_rng(seed)
    with jax.enable_x64(True):
        x, y = rng.uniform(0, 1, (12, inputs)), rng.standard_normal(12)
        best, residual = nnls(x, y)
        # Reached: the best map through one unit of each layer.
        kernels = [np.zeros(shape) for shape in layers(inputs, widths)]
        kernels[0][:, 0] = best
        for kernel in kernels[1:]:
            kernel[0, 0] = 1.0
        reached = np.sum((outputs(widths, kernels, x) - y) ** 2)
        assert reached == pytest.approx(residual**2, rel=1e-9)
        # And no other non-negative weights do better.
        for _ in range(20):
            other = [rng.exponential(1, shape) for shape in layers(inputs, widths)]
            assert np.sum((outputs(widths, other, x) - y) ** 2) >= residual**2 * (1 - 1e-12)
        # Nor do those that descent finds from there.
        nearby = [np.maximum(k + rng.normal(0, 1e-3, k.shape), 0) for k in kernels]
        assert np.sum((outputs(widths, nearby, x) - y) ** 2) >= residual**2 * (1 - 1e-12)


@settings(max_examples=20)
@given(st.sampled_from(SIZES), st.integers(0, 2**32 - 1))
def test_unrestricted_it_is_at_most_that_of_least_squares(size, seed):
    inputs, widths = size
    rng = np.random.default_rng(seed)
    with jax.enable_x64(True):
        x, y = rng.uniform(0, 1, (12, inputs)), rng.standard_normal(12)
        best, *_ = np.linalg.lstsq(x, y)
        least = np.sum((x @ best - y) ** 2)
        kernels = [np.zeros(shape) for shape in layers(inputs, widths)]
        kernels[0][:, 0], kernels[0][:, 1] = best, -best
        for kernel in kernels[1:-1]:
            kernel[0, 0] = kernel[1, 1] = 1.0
        kernels[-1][0, 0], kernels[-1][1, 0] = 1.0, -1.0
        reached = np.sum((outputs(widths, kernels, x) - y) ** 2)
        assert reached == pytest.approx(least, rel=1e-9)
        assert least <= nnls(x, y)[1] ** 2 * (1 + 1e-12)
