"""What several layers read is not computed anew for each of them."""

import jax
import jax.numpy as jnp
import pytest

from jaxcv import models


@pytest.mark.parametrize(
    ("model", "kept"),
    [
        # The first ReLU, and two in each of three blocks.
        (models.ResNet(depth=8, width=4), 1 + 2 * 3),
        (models.ResNetStacks(blocks=1, width=4), 2 * 4),
        # What each of three layers is given, with what it makes.
        (models.DenseNet(depth=7, growth=3), 3),
    ],
)
def test_what_is_read_more_than_once_is_written_out(model, kept):
    """By a call that XLA may not inline."""
    images = jnp.zeros((2, 8, 8, 3))
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    text = jax.jit(model.apply).lower(variables, images).compile().as_text()
    assert text is not None
    assert text.count(" call(") == kept
