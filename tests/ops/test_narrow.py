"""Several columns at once give what one at a time gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from jaxcv import ops, reference
from jaxcv.ops.filter_gradients import filter_gradient
from jaxcv.ops.input_gradients import input_gradient
from jaxcv.ops.narrow import columns_at_once, convolve


@pytest.mark.parametrize(
    ("kernel", "stride", "columns", "together"),
    [
        ((3, 3, 16, 16), (1, 1), 32, 2),
        ((3, 3, 3, 16), (1, 1), 32, 4),
        ((3, 3, 3, 16), (1, 1), 30, 1),
        ((5, 5, 24, 12), (1, 1), 8, 2),
        ((3, 3, 16, 17), (1, 1), 32, 1),  # wide enough
        ((3, 3, 16, 16), (1, 1), 31, 1),  # does not divide
        ((3, 3, 16, 16), (2, 2), 16, 1),
        ((1, 1, 16, 16), (1, 1), 32, 1),  # twice the products
    ],
)
def test_the_choice(kernel, stride, columns, together):
    assert columns_at_once(kernel, stride, columns) == together


@pytest.mark.parametrize(
    ("image", "window", "channels", "padding"),
    [
        ((5, 8), (3, 3), 3, ((1, 1), (1, 1))),
        ((4, 8), (2, 5), 4, ((0, 2), (1, 3))),
        ((6, 6), (3, 3), 5, ((1, 1), (1, 1))),
        ((7, 9), (3, 4), 6, ((0, 0), (0, 0))),  # six columns from nine
        ((3, 2), (3, 3), 7, ((2, 0), (0, 2))),  # a window wider than the image
    ],
    ids=str,
)
def test_whole_numbers_agree_exactly(rng, image, window, channels, padding):
    """Forward and both gradients, against the reference's loops."""
    x = rng.integers(-3, 4, (2, *image, channels)).astype(np.float32)
    kernel = rng.integers(-3, 4, (*window, channels, 5)).astype(np.float32)
    y = reference.conv2d(x, kernel, None, 1, padding)
    dy = rng.integers(-3, 4, y.shape).astype(np.float32)
    dx, dkernel, _ = reference.conv2d_backward(dy, x, kernel, 1, padding)
    together = columns_at_once(kernel.shape, (1, 1), y.shape[2])
    assert together == (4 if channels <= 4 else 2)
    x, kernel, dy = map(jnp.asarray, (x, kernel, dy))
    np.testing.assert_array_equal(convolve(x, kernel, padding, together), y)
    np.testing.assert_array_equal(ops.conv2d(x, kernel, padding=padding), y)
    np.testing.assert_array_equal(filter_gradient(x, dy, window, (1, 1), padding), dkernel)
    np.testing.assert_array_equal(input_gradient(dy, kernel, image, (1, 1), padding), dx)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_accelerators_compute_one_column_at_a_time(platform):
    x, kernel = (jax.ShapeDtypeStruct(s, jnp.float32) for s in ((2, 8, 8, 16), (3, 3, 16, 16)))
    program = export.export(jax.jit(ops.conv2d), platforms=[platform])(x, kernel)
    assert "tensor<3x3x16x16xf32>" in program.mlir_module()
    assert "tensor<3x4x16x32xf32>" not in program.mlir_module()
