"""The network of the speed run against the same one put together from plain operations."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxcv import device_data, models, reference, training
from jaxcv.errors import UserError
from jaxcv.experiment import Experiment
from jaxcv.inspection import inspect
from jaxcv.models.activations import gelu
from jaxcv.optimizers import SGD
from jaxcv.programs import prepare
from tests import tiny

SMALL = models.Speedrun(features=(26, 28), logit_scale=0.5, num_classes=4)


def started(shape: tuple[int, ...], model: models.Speedrun = SMALL) -> dict:
    """Initial variables, with a kernel that whitens and offsets that are not zero."""
    images = jax.random.normal(jax.random.key(1), shape)
    variables = dict(jax.jit(model.init)(jax.random.key(0), images))
    variables["batch_stats"] = variables["batch_stats"] | model.data_statistics(images)
    variables["params"] = jax.tree.map(
        lambda x: x + 0.05 * jax.random.normal(jax.random.key(2), x.shape), variables["params"]
    )
    return variables


def plain(variables: dict, images: jax.Array) -> jax.Array:
    """Every map whole, pooled by lax, standardised by the formula; in training mode."""
    params = variables["params"]

    def conv(x, kernel, padding):
        return lax.conv_general_dilated(
            x, kernel, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    def norm(number, x):
        mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
        return (x - mean) / jnp.sqrt(variance) + params[f"BatchNorm_{number}"]["bias"]

    x = conv(images, variables["batch_stats"]["Whitening_0"]["kernel"], "VALID")
    x = jax.nn.gelu(x + params["Whitening_0"]["bias"], approximate=False)
    for number in range(4):
        x = conv(x, params[f"Conv_{number}"]["kernel"], "SAME")
        if number % 2 == 0:
            x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        x = jax.nn.gelu(norm(number, x), approximate=False)
    return 0.5 * (x.max((1, 2)) @ params["Dense_0"]["kernel"])


@pytest.mark.parametrize(
    "shape",
    [(6, 16, 15, 3), pytest.param((6, 14, 12, 3), marks=pytest.mark.every_script)],
)
def test_against_plain_operations(shape):
    """Even and odd maps: what pooling drops is not missed, in the gradient neither."""
    variables, images = started(shape), jax.random.normal(jax.random.key(3), shape)

    def ours(params):
        logits, _ = SMALL.apply(
            variables | {"params": params}, images, train=True, mutable=["batch_stats"]
        )
        return jnp.sum(jnp.sin(logits)), logits

    def theirs(params):
        logits = plain(variables | {"params": params}, images)
        return jnp.sum(jnp.sin(logits)), logits

    (_, one), gradient = jax.jit(jax.value_and_grad(ours, has_aux=True))(variables["params"])
    (_, other), expected = jax.jit(jax.value_and_grad(theirs, has_aux=True))(variables["params"])
    np.testing.assert_allclose(one, other, atol=1e-4)
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(gradient), jax.tree.leaves(expected), strict=True
    ):
        error = np.linalg.norm(a - b) / np.linalg.norm(b)
        assert error < 1e-3, jax.tree_util.keystr(path)


def test_size_and_shapes():
    found = inspect(models.Speedrun())
    # 24·9·64 + 64·9·64 + 64·9·256 + 3·256·9·256, the offsets, the whitening's bias, the last layer
    assert found.parameters == 1_971_352
    maps = [row.output_shape for row in found.layers if row.name.startswith(("Wh", "max"))]
    assert maps == [(31, 31, 24), (15, 15, 64), (7, 7, 256), (3, 3, 256), (1, 1, 256)]


def test_convolutions_start_by_handing_channels_through():
    params = jax.jit(SMALL.init)(jax.random.key(0), jnp.zeros((1, 9, 9, 3)))["params"]
    for name in ("Conv_0", "Conv_1", "Conv_2"):
        kernel = np.asarray(params[name]["kernel"])
        inputs, features = kernel.shape[2:]
        identity = np.zeros((3, 3, inputs, inputs))
        identity[1, 1] = np.eye(inputs)
        np.testing.assert_array_equal(kernel[..., :inputs], identity)
        rest, bound = kernel[..., inputs:], (9 * inputs) ** -0.5
        if features > inputs:
            assert 0.9 * bound < np.abs(rest).max() <= bound
    unit = SMALL.clone(unit_head=True)
    head = jax.jit(unit.init)(jax.random.key(0), jnp.zeros((1, 9, 9, 3)))["params"]["Dense_0"]
    assert np.std(np.asarray(head["kernel"], np.float64), ddof=1) == pytest.approx(1, rel=1e-5)


def test_too_small_images_are_the_users_mistake():
    assert jax.eval_shape(SMALL.init, jax.random.key(0), jnp.zeros((1, 5, 9, 3)))
    with pytest.raises(UserError, match="images of 5 pixels"):
        jax.eval_shape(SMALL.init, jax.random.key(0), jnp.zeros((1, 4, 9, 3)))


def test_gelu_is_the_exact_one(rng):
    x = np.concatenate([np.linspace(-12, 12, 997), [0.0, -0.0, 1e-30, 80.0, -80.0]])
    got = np.asarray(gelu(jnp.asarray(x, jnp.float32)), np.float64)
    # Three roundings and erf's, of numbers up to 2, times x/2.
    bound = 6 * np.finfo(np.float32).eps * np.abs(x)
    exact = np.float32(x).astype(np.float64)
    error = np.abs(got - reference.gelu(exact, approximate=False))
    assert np.all(error <= bound), np.max(error - bound)
    slope = jax.vmap(jax.grad(gelu))(jnp.asarray(x, jnp.float32))
    expected = reference.gelu_backward(np.ones_like(x), exact, approximate=False)
    np.testing.assert_allclose(slope, expected, atol=2e-6)


def test_the_whitening_is_of_the_training_images_and_stays():
    data = tiny.dataset(shape=(6, 7, 3))
    it = Experiment(model=SMALL, optimizer=SGD(0.1), batch_size=8, normalization="standardize")
    program = prepare(it, data)
    states = [program.initial_state(seed) for seed in (0, 1)]
    pixels = device_data.gather(program.data, jnp.asarray(data.train))[0]
    expected = np.asarray(SMALL.data_statistics(pixels)["Whitening_0"]["kernel"])
    assert np.abs(expected).max() > 0
    for state in states:
        kernel = np.asarray(state.batch_stats["Whitening_0"]["kernel"])
        np.testing.assert_array_equal(kernel, program.statistics["Whitening_0"]["kernel"])
        np.testing.assert_allclose(np.abs(kernel), np.abs(expected), atol=2e-3)
    state = training.train_chunk(
        program.static,
        states[0],
        program.data,
        program.order(states[1], 0),
        program.hyper,
        np.int32(3),
    )
    after = state.batch_stats
    np.testing.assert_array_equal(after["Whitening_0"]["kernel"], kernel)
    assert np.abs(np.asarray(after["BatchNorm_0"]["mean"])).max() > 0
    # Other seeds and other numbers give the same: a program of its own computes it.
    other = prepare(dataclasses.replace(it, seed=5, optimizer=SGD(0.2)), data)
    np.testing.assert_array_equal(other.statistics["Whitening_0"]["kernel"], kernel)


def test_the_initial_loss_is_near_chance():
    data = tiny.dataset(train=64, shape=(9, 9, 3))
    it = Experiment(
        model=SMALL.clone(logit_scale=1 / 28, unit_head=True), optimizer=SGD(), batch_size=64
    )
    program = prepare(it, data)
    state = program.initial_state(0)
    images, labels = device_data.gather(program.data, jnp.asarray(data.train))
    logits, _ = training.apply(it, state.params, state.batch_stats, images, True)
    loss = it.loss.totals(logits, images, labels, state.params)["loss"] / 64
    # The logits' deviation is about 1/√28 of what the maxima measure, which is about 2.
    assert abs(float(loss) - math.log(4)) < 0.3
