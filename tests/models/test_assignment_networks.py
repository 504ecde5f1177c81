"""The networks of the assignment and the PyTorch exercise, and the two that are our own choice."""

import math
import runpy
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcv import models, reference
from jaxcv.errors import UserError
from jaxcv.losses import CrossEntropy
from jaxcv.models import NETWORKS, intermediates
from jaxcv.models.activations import prelu


def logits_of(model, params, images) -> jax.Array:
    """In evaluation mode."""
    return model.apply({"params": params}, images)


def drawn(model, images):
    """Variables of their initial size, all different from zero."""
    rng = np.random.default_rng(1)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    variables = {k: v for k, v in variables.items() if k != "intermediates"}
    return jax.tree.map(
        lambda leaf: jnp.asarray(0.1 * rng.normal(size=leaf.shape) + (leaf.ndim == 1), leaf.dtype),
        variables,
    )


def test_conv_pool_net_is_the_references(rng):
    """Loss and every gradient equal those derived by hand, to float64's accuracy."""
    with jax.enable_x64(True):
        model = models.ConvPoolNet(features=3, kernel_size=5, hidden=7, num_classes=4)
        images = jnp.asarray(rng.normal(size=(5, 6, 8, 2)))
        labels = jnp.asarray(rng.integers(0, 4, 5))
        params = jax.tree.map(lambda p: p.astype(jnp.float64), drawn(model, images)["params"])
        loss = CrossEntropy(l2=0.3)

        def objective(params):
            return loss.objective(
                loss.totals(logits_of(model, params, images), images, labels, params), params
            )

        value, gradients = jax.value_and_grad(objective)(params)
    expected, by_hand = reference.three_layer_convnet_loss(
        jax.tree.map(np.asarray, params), np.asarray(images), np.asarray(labels), 0.3
    )
    assert float(value) == pytest.approx(expected, rel=1e-12)
    assert jax.tree.structure(gradients) == jax.tree.structure(by_hand)
    for ours, theirs in zip(jax.tree.leaves(gradients), jax.tree.leaves(by_hand), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


def test_conv_pool_net_starts_where_the_course_says():
    """Weights N(0, 1e-3) guess: ln 10; the L2 term of 0.5 makes it 2.5083 with 100 hidden units."""
    model = NETWORKS["conv_pool"].clone(hidden=100)
    images = jnp.asarray(np.random.default_rng(0).normal(size=(8, 32, 32, 3)), jnp.float32)
    params = jax.jit(model.init)(jax.random.key(0), images)["params"]
    for layer in params.values():
        assert np.std(layer["kernel"]) == pytest.approx(1e-3, rel=0.1)
        assert not np.any(layer["bias"])
    labels = jnp.arange(8)
    plain, decayed = CrossEntropy(), CrossEntropy(l2=0.5)
    totals = plain.totals(logits_of(model, params, images), images, labels, params)
    assert float(plain.objective(totals, params)) == pytest.approx(math.log(10), abs=1e-4)
    assert float(decayed.objective(totals, params)) == pytest.approx(2.5083, abs=2e-3)


def test_three_layer_convnet_is_what_its_formula_says(rng):
    images = rng.normal(size=(3, 5, 6, 2)).astype(np.float32)
    model = models.ThreeLayerConvNet((4, 3), (5, 3), num_classes=7)
    params = drawn(model, jnp.asarray(images))["params"]
    by_hand = jax.tree.map(np.float64, params)
    x = images
    for name in ("conv1", "conv2"):
        x = reference.conv_relu(x, by_hand[name]["kernel"], by_hand[name]["bias"])
    logits = x.reshape(3, -1) @ by_hand["dense"]["kernel"] + by_hand["dense"]["bias"]
    np.testing.assert_allclose(
        logits_of(model, params, jnp.asarray(images)), logits, rtol=1e-4, atol=1e-4
    )


def test_three_layer_convnet_needs_a_window_for_each_convolution():
    with pytest.raises(UserError, match="--kernel-sizes must be as many as --features"):
        jax.eval_shape(
            models.ThreeLayerConvNet((4, 4), (3,)).init, jax.random.key(0), jnp.zeros((1, 8, 8, 1))
        )


def test_the_challenge_nets_maps():
    model = models.ChallengeNet((4, 5, 6), hidden=(7,))
    images = jnp.zeros((2, 32, 32, 3))
    shown = jax.eval_shape(
        lambda: intermediates(model, model.init(jax.random.key(0), images), images)
    )
    assert {name: value.shape for name, value in shown.items()} == {
        "conv1": (2, 32, 32, 4),
        "conv2": (2, 14, 14, 5),
        "conv3": (2, 5, 5, 6),
        "pool": (2, 6),
        "logits": (2, 10),
    }


def test_the_challenge_net_drops_only_while_it_trains(rng):
    model = models.ChallengeNet((4, 4, 4), hidden=(5,), dropout=0.5)
    images = jnp.asarray(rng.normal(size=(4, 8, 8, 1)), jnp.float32)
    variables = drawn(model, images)

    def logits(seed, train):
        rngs = {"dropout": jax.random.key(seed)}
        result, _ = model.apply(variables, images, train, rngs=rngs, mutable=["batch_stats"])
        return np.asarray(result)

    assert np.array_equal(logits(0, False), logits(1, False))
    assert np.array_equal(logits(0, True), logits(0, True))
    assert not np.array_equal(logits(0, True), logits(1, True))


def test_the_first_block_of_the_stacks_adds_the_pixels(rng):
    """With a second convolution of zeros a block is its shortcut: pixels first, then zeros."""
    model = models.ResNetStacks(blocks=1, width=4)
    images = jnp.asarray(rng.random(size=(2, 8, 8, 3)), jnp.float32)
    variables = drawn(model, images)
    block = variables["params"]["ResidualBlock_0"]["ConvBatchNorm_1"]["BatchNorm_0"]
    assert set(block) == {"scale", "bias"}
    block["scale"], block["bias"] = jnp.zeros(4), jnp.zeros(4)
    first = np.asarray(intermediates(model, variables, images)["block1"])
    np.testing.assert_array_equal(first[..., :3], images)
    assert not first[..., 3].any()


def test_the_stacks_halve_twice():
    model = models.ResNetStacks(blocks=2, width=4)
    images = jnp.zeros((1, 32, 32, 3))
    shown = jax.eval_shape(
        lambda: intermediates(model, model.init(jax.random.key(0), images), images)
    )
    assert {name: value.shape[1:] for name, value in shown.items()} == {
        "block1": (32, 32, 4),
        "stack1_block1": (32, 32, 4),
        "stack1_block2": (32, 32, 4),
        "stack2_block1": (16, 16, 8),
        "stack2_block2": (16, 16, 8),
        "stack3_block1": (8, 8, 16),
        "stack3_block2": (8, 8, 16),
        "pool": (16,),
        "logits": (10,),
    }


def test_the_densenets_channels_grow():
    model = models.DenseNet(depth=10, growth=5)
    images = jnp.zeros((1, 32, 32, 3))
    shown = jax.eval_shape(
        lambda: intermediates(model, model.init(jax.random.key(0), images), images)
    )
    assert {name: value.shape[1:] for name, value in shown.items()} == {
        "conv1": (32, 32, 16),
        "block1": (32, 32, 26),
        "block2": (16, 16, 36),
        "block3": (8, 8, 46),
        "pool": (46,),
        "logits": (10,),
    }


def test_a_dense_block_keeps_what_it_was_given(rng):
    model = models.DenseNet(depth=7, growth=3)
    images = jnp.asarray(rng.normal(size=(2, 8, 8, 3)), jnp.float32)
    shown = intermediates(model, drawn(model, images), images)
    np.testing.assert_array_equal(shown["block1"][..., :16], shown["conv1"])


@pytest.mark.parametrize(
    ("model", "side", "said"),
    [
        (models.DenseNet(depth=21), 32, "--depth must be 3n \\+ 4"),
        (models.DenseNet(depth=4), 32, "--depth must be 3n \\+ 4"),
        (models.DenseNet(), 3, "4 pixels"),
        (models.ResNet9((1, 2, 3)), 32, "--features must be 4 numbers"),
        (models.ResNet9(), 7, "8 pixels"),
    ],
)
def test_what_a_network_refuses(model, side, said):
    with pytest.raises(UserError, match=said):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, side, side, 3)))


@pytest.mark.parametrize(
    ("activation", "f"),
    [
        ("leaky_relu", lambda x: np.where(x > 0, x, 0.01 * x)),
        ("prelu", lambda x: np.where(x > 0, x, 0.25 * x)),
        ("elu", lambda x: np.where(x > 0, x, np.expm1(x))),
        ("maxout", lambda x: np.maximum(x[:, 0::2], x[:, 1::2])),
    ],
)
def test_activations(activation, f, rng):
    images = jnp.asarray(rng.normal(size=(3, 4, 4, 1)), jnp.float32)
    model = models.MLP(features=(6,), activation=activation)
    params = jax.jit(model.init)(jax.random.key(0), images)["params"]
    hidden = np.asarray(images).reshape(3, -1) @ np.asarray(params["Dense_0"]["kernel"])
    shown = intermediates(model, {"params": params}, images)["hidden1"]
    assert shown.shape == (3, 6)
    np.testing.assert_allclose(shown, f(hidden), rtol=1e-5, atol=1e-6)


def test_the_gradient_of_a_slope_of_16_bits_is_added_up_in_more():
    class Alone(nn.Module):
        @nn.compact
        def __call__(self, x):
            return prelu(x)

    x = jnp.full((64, 16, 16, 2), -1, jnp.bfloat16)
    parameters = jax.tree.map(lambda a: a.astype(x.dtype), Alone().init(jax.random.key(0), x))

    def total(parameters):
        y: Any = Alone().apply(parameters, x)
        assert y.dtype == x.dtype
        return jnp.sum(y.astype(jnp.float32))

    gradient = jax.jit(jax.grad(total))(parameters)["params"]["PReLU_0"]["negative_slope"]
    assert gradient == -(2**15)


def test_prelu_learns_its_slope():
    model = models.MLP(features=(6,), activation="prelu")
    images = -jnp.ones((1, 2, 2, 1))
    params = jax.jit(model.init)(jax.random.key(0), images)["params"]
    gradient = jax.grad(lambda p: logits_of(model, p, images).sum())(params)
    assert np.any(gradient["PReLU_0"]["negative_slope"])


@pytest.mark.parametrize("name", NETWORKS)
def test_the_scripts_train_the_networks_of_their_names(name):
    """What `jaxcv inspect NAME` shows is what experiments/NAME.py trains."""
    script = Path(__file__).parents[2] / "experiments" / f"{name}.py"
    assert runpy.run_path(str(script))["experiment"].model == NETWORKS[name]
