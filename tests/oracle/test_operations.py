"""Every op and layer against PyTorch, forward and gradients, in float64."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcv import layers, losses, ops
from tests.oracle import torch_layers as theirs

torch, F = theirs.torch, theirs.F
pytestmark = pytest.mark.oracle

CONVOLUTIONS: list[tuple[tuple[int, ...], tuple[int, ...], Any, Any]] = [
    ((2, 6, 5, 3), (3, 3, 3, 4), 1, "same"),
    ((2, 7, 8, 2), (3, 2, 2, 3), 2, "same"),
    ((2, 7, 6, 2), (3, 2, 2, 3), (2, 1), ((1, 0), (2, 1))),
    ((1, 1, 1, 1), (1, 1, 1, 1), 1, "valid"),
    ((2, 5, 5, 2), (2, 2, 2, 2), 3, "valid"),
    ((2, 5, 4, 3), (5, 4, 3, 2), 1, "valid"),
    ((3, 9, 7, 1), (5, 5, 1, 6), 2, 2),
    ((2, 8, 8, 16), (3, 3, 16, 8), 1, 1),
]


@pytest.mark.parametrize(("x", "kernel", "stride", "padding"), CONVOLUTIONS)
@pytest.mark.parametrize("with_bias", [True, False])
def test_conv2d(compare, rng, x, kernel, stride, padding, with_bias):
    shapes = (x, kernel, kernel[3:]) if with_bias else (x, kernel)
    compare(
        lambda x, kernel, bias=None: ops.conv2d(x, kernel, bias, stride, padding),
        lambda x, kernel, bias=None: theirs.conv2d(x, kernel, bias, stride, padding),
        [rng.standard_normal(shape) for shape in shapes],
    )


@pytest.mark.parametrize(("stride", "padding"), [(1, "SAME"), (2, "SAME"), (2, "VALID")])
def test_the_convolution_that_networks_use(compare, rng, stride, padding):
    layer = nn.Conv(
        4, (3, 3), stride, padding=padding, conv_general_dilated=ops.conv_general_dilated
    )
    compare(
        lambda x, kernel, bias: layer.apply({"params": {"kernel": kernel, "bias": bias}}, x),
        lambda x, kernel, bias: theirs.conv2d(x, kernel, bias, stride, padding.lower()),
        [rng.standard_normal(shape) for shape in ((2, 7, 6, 3), (3, 3, 3, 4), (4,))],
    )


WINDOWS: list[tuple[tuple[int, ...], Any, Any, Any]] = [
    ((3, 6, 4, 3), 2, None, "valid"),
    ((2, 7, 5, 2), (2, 4), (2, 1), ((1, 0), (1, 2))),
    ((2, 7, 6, 3), 3, 2, "same"),
    ((2, 7, 7, 2), 2, 3, "valid"),
    ((2, 5, 6, 2), (5, 6), None, "valid"),
    ((1, 1, 1, 1), 1, None, "valid"),
    ((2, 7, 7, 2), 3, 1, 1),
]


@pytest.mark.parametrize(("shape", "window", "stride", "padding"), WINDOWS)
@pytest.mark.parametrize("op", ["max_pool2d", "avg_pool2d"])
def test_pooling(compare, rng, op, shape, window, stride, padding):
    compare(
        lambda x: getattr(ops, op)(x, window, stride, padding),
        lambda x: getattr(theirs, op)(x, window, stride, padding),
        [rng.standard_normal(shape)],
    )


@pytest.mark.parametrize(("shape", "window", "stride", "padding"), WINDOWS)
def test_ties_go_to_the_same_element(compare, rng, shape, window, stride, padding):
    compare(
        lambda x: ops.max_pool2d(x, window, stride, padding),
        lambda x: theirs.max_pool2d(x, window, stride, padding),
        [rng.integers(0, 2, shape).astype(np.float64)],
    )


def test_global_avg_pool2d(compare, rng):
    x = rng.standard_normal((2, 5, 7, 3))
    compare(ops.global_avg_pool2d, theirs.global_avg_pool2d, [x])


AFFINE = [(True, True), (True, False), (False, True), (False, False)]


def affine(rng, channels: int, scale: bool, bias: bool):
    """The parameters that there are, and what spreads them over (scale, bias)."""
    given = [rng.standard_normal(channels) for used in (scale, bias) if used]

    def spread(parameters):
        left = list(parameters)
        return left.pop(0) if scale else None, left.pop(0) if bias else None

    return given, spread


@pytest.mark.parametrize(("scale", "bias"), AFFINE)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(6, 3), (4, 5, 3, 2)])
def test_batch_norm(compare, rng, shape, training, scale, bias):
    given, spread = affine(rng, shape[-1], scale, bias)
    mean, var = rng.standard_normal(shape[-1]), rng.uniform(0.5, 2, shape[-1])
    settings = {"training": training, "momentum": 0.7, "epsilon": 1e-2}
    x = rng.standard_normal(shape) + 3
    tensors = torch.tensor(mean), torch.tensor(var)
    compare(
        lambda x, *p: layers.batch_norm(
            x, *spread(p), jnp.asarray(mean), jnp.asarray(var), **settings
        )[0],
        lambda x, *p: theirs.batch_norm(x, *spread(p), *tensors, **settings)[0],
        [x, *given],
    )
    _, *moved = theirs.batch_norm(torch.tensor(x), None, None, *tensors, **settings)
    with jax.enable_x64(True):
        arrays = [jnp.asarray(array) for array in (x, mean, var)]
        _, *ours = layers.batch_norm(arrays[0], None, None, arrays[1], arrays[2], **settings)
        for statistic, other in zip(ours, moved, strict=True):
            np.testing.assert_allclose(statistic, other, rtol=1e-12)


@pytest.mark.parametrize(("scale", "bias"), AFFINE)
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_group_norm(compare, rng, groups, scale, bias):
    given, spread = affine(rng, 6, scale, bias)
    compare(
        lambda x, *p: layers.group_norm(x, *spread(p), groups, 1e-3),
        lambda x, *p: theirs.group_norm(x, *spread(p), groups, 1e-3),
        [rng.standard_normal((3, 4, 5, 6)) + 2, *given],
    )


@pytest.mark.parametrize(("scale", "bias"), AFFINE)
def test_layer_norm(compare, rng, scale, bias):
    given, spread = affine(rng, 6, scale, bias)
    compare(
        lambda x, *p: layers.layer_norm(x, *spread(p), 1e-3),
        lambda x, *p: theirs.layer_norm(x, *spread(p), 1e-3),
        [rng.standard_normal((3, 4, 6)) + 2, *given],
    )


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.9, 1.0])
def test_dropout_given_pytorchs_mask(compare, rng, rate):
    x = rng.standard_normal((20, 30))

    def dropped(x):
        torch.manual_seed(0)
        return F.dropout(x, rate)

    mask = jnp.asarray(dropped(torch.ones(20, 30)).numpy() > 0)
    compare(lambda x: layers.dropout(x, mask, rate), dropped, [x])


@pytest.mark.parametrize("rows", [5, 2050])
@pytest.mark.parametrize("layer", [nn.Dense(4), layers.Dense(4)], ids=["flax", "ours"])
def test_dense(compare, rng, rows, layer):
    compare(
        lambda x, kernel, bias: layer.apply({"params": {"kernel": kernel, "bias": bias}}, x),
        theirs.dense,
        [rng.standard_normal(shape) for shape in ((rows, 16), (16, 4), (4,))],
    )


ACTIVATIONS = {
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "gelu": lambda x: F.gelu(x, approximate="tanh"),
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "log_sigmoid": F.logsigmoid,
    "softmax": lambda x: F.softmax(x, dim=-1),
    "log_softmax": lambda x: F.log_softmax(x, dim=-1),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(compare, rng, name):
    x = 3 * rng.standard_normal((20, 10))
    compare(getattr(nn, name), ACTIVATIONS[name], [x])


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("size", [1.0, 1e4])
def test_cross_entropy(compare, rng, smoothing, size):
    labels = rng.integers(0, 10, 8)
    compare(
        lambda logits: losses.cross_entropy(logits, jnp.asarray(labels), smoothing),
        lambda logits: F.cross_entropy(logits, torch.tensor(labels), label_smoothing=smoothing),
        [size * rng.standard_normal((8, 10))],
    )
