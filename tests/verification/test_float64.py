"""Programs evaluated in NumPy against the same programs in JAX's own float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxcv import losses, ops
from jaxcv.verification.float64 import evaluate, summed_terms

IMAGES, KERNEL = (2, 7, 6, 3), (3, 2, 3, 4)
NHWC = ("NHWC", "HWIO", "NHWC")


def gradient(function, argument=0):
    return jax.grad(lambda *a: jnp.sum(jnp.sin(function(*a))), argument)


PROGRAMS = {
    "convolution": (lambda x, k: ops.conv2d(x, k, None, (2, 1), ((1, 0), (2, 1))), IMAGES, KERNEL),
    "its gradients": (
        jax.grad(lambda x, k: jnp.sum(jnp.sin(ops.conv2d(x, k, None, 2))), (0, 1)),
        IMAGES,
        KERNEL,
    ),
    "autodiff's gradients": (
        jax.grad(
            lambda x, k: jnp.sum(
                lax.conv_general_dilated(x, k, (2, 1), "SAME", dimension_numbers=NHWC) ** 2
            ),
            (0, 1),
        ),
        IMAGES,
        KERNEL,
    ),
    "dilated": (
        lambda x, k: lax.conv_general_dilated(
            x, k, (1, 1), [(3, -1), (2, 2)], (2, 1), (1, 2), dimension_numbers=NHWC
        ),
        IMAGES,
        KERNEL,
    ),
    "grouped": (
        lambda x, k: lax.conv_general_dilated(
            x, k, (1, 1), "SAME", dimension_numbers=NHWC, feature_group_count=3
        ),
        IMAGES,
        (3, 2, 1, 6),
    ),
    "max pooling": (gradient(lambda x: ops.max_pool2d(x, 3, 2, "same")), IMAGES),
    "average pooling": (gradient(lambda x: ops.avg_pool2d(x, 2)), IMAGES),
    "batched product": (lambda x, y: jnp.einsum("abc,bdc->bad", x, y), (4, 3, 5), (3, 2, 5)),
    "gathered": (gradient(lambda x: x[jnp.array([3, 0, 3])]), (4, 5)),
    "cross-entropy": (
        gradient(lambda z: losses.cross_entropy(z, jnp.array([1, 0, 2]), 0.125)),
        (3, 4),
    ),
    "activations": (
        gradient(
            lambda x: (
                jax.nn.elu(x) + jax.nn.sigmoid(x) + jax.nn.log_sigmoid(x)
                + jax.nn.softplus(x) * lax.erf(lax.stop_gradient(x)) / (1.5 + jnp.tanh(x)) + x**3
            )
        ),
        (50,),
    ),
    "a loop": (lambda x: lax.fori_loop(0, 3, lambda i, x: jnp.sin(x) + i, x), (5,)),
    "another loop": (
        lambda x: lax.scan(lambda c, y: (c * y, c + y), jnp.ones(()), x, reverse=True),
        (5,),
    ),
    "a loop that ends when it may": (
        lambda x: lax.while_loop(lambda c: c[0] < jnp.sum(x * x), lambda c: (c[0] + c[1], c[1]),
                                 (jnp.ones(()), jnp.sum(jnp.abs(x)))),
        (5,),
    ),
    "moved": (
        lambda x: jnp.concatenate(
            [jnp.flip(x, 1)[:, ::2], jnp.pad(x, ((0, 0), (1, 2)))[:, 1:4]], 1
        ),
        (4, 5),
    ),
    "ordered": (lambda x: jnp.argmax(x, 1) + jnp.sum(x > 0, 1) + jnp.max(x, 1), (4, 5)),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_is_evaluated_as_jax_does(name, rng):
    function, *shapes = PROGRAMS[name]
    arguments = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    results = evaluate(jax.make_jaxpr(function)(*arguments), arguments)
    with jax.enable_x64(True):
        expected = jax.tree.leaves(jax.jit(function)(*(a.astype(np.float64) for a in arguments)))
    for result, value in zip(results, expected, strict=True):
        np.testing.assert_allclose(result, np.asarray(value), rtol=1e-10, atol=1e-12)


def test_masks_are_those_of_the_float32_program():
    def masked(key, x):
        return jnp.where(jax.random.uniform(key, x.shape) >= 0.3, x, 0)

    key, x = jax.random.key(1), np.ones(100, np.float32)
    (result,) = evaluate(jax.make_jaxpr(masked)(key, x), [key, x])
    np.testing.assert_array_equal(result, np.asarray(masked(key, x)))


def test_terms_of_sums_are_counted():
    program = jax.make_jaxpr(lambda x, y: jnp.sum(jax.nn.relu(x @ y)))(
        np.zeros((3, 5)), np.zeros((5, 2))
    )
    assert summed_terms(program.jaxpr) == 5 + 6
