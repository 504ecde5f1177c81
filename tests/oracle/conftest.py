from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

# In float64, where two right implementations differ by their roundings alone.
CLOSE = 1e-11


def close(ours: Any, theirs: Any, what: str) -> None:
    """Equal but for a tiny part of the largest element."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape, what
    assert ours.dtype == np.float64, what
    np.testing.assert_allclose(
        ours, theirs, rtol=0, atol=CLOSE * (1e-3 + np.abs(theirs).max()), err_msg=what
    )


@pytest.fixture
def compare(rng: np.random.Generator) -> Callable[..., None]:
    """Called as (ours, theirs, inputs): output and gradients of a JAX and a PyTorch function."""
    torch = pytest.importorskip("torch")

    def check(ours: Callable, theirs: Callable, inputs: Sequence[np.ndarray]) -> None:
        tensors = [torch.tensor(array, requires_grad=True) for array in inputs]
        output = theirs(*tensors)
        dy = rng.standard_normal(tuple(output.shape))
        output.backward(torch.tensor(dy))
        with jax.enable_x64(True):
            y, pull = jax.vjp(jax.jit(ours), *map(jnp.asarray, inputs))
            gradients = pull(jnp.asarray(dy))
            close(y, output.detach(), "output")
            for i, (gradient, tensor) in enumerate(zip(gradients, tensors, strict=True)):
                close(gradient, tensor.grad, f"gradient of input {i}")

    return check
