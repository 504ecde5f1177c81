import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import models
from jaxcv.losses import cross_entropy
from jaxcv.models import MODELS, intermediates

NETWORKS = {
    "softmax": (models.Softmax(), 30_730),
    "mlp_tanh": (models.MLP(activation="tanh", kernel_init="glorot_uniform"), 1_578_506),
    "mlp_relu": (models.MLP(), 1_578_506),
    "cnn": (models.CNN(), 79_690),
}


def test_the_table_names_every_network():
    assert set(MODELS) >= {"CNN", "MLP", "Softmax"}
    assert all(name == model.__name__ for name, model in MODELS.items())


@pytest.mark.parametrize("name", NETWORKS)
def test_parameter_counts(name):
    model, count = NETWORKS[name]
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    assert set(shapes) == {"params"} or set(shapes) == {"params", "intermediates"}
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes["params"])) == count


@pytest.mark.parametrize("name", ["CNN", "MLP", "Softmax"])
def test_the_state_holds_parameters_alone(name):
    """What a network shows on the way is no part of its variables."""
    from jaxcv.experiment import Experiment
    from jaxcv.optimizers import SGD
    from jaxcv.training import init

    experiment = Experiment(model=MODELS[name](), optimizer=SGD())
    state = jax.eval_shape(lambda key: init(experiment, key, (8, 8, 3)), jax.random.key(0))
    leaves = jax.tree_util.tree_leaves_with_path(state.params)
    assert {path[-1].key for path, _ in leaves} == {"kernel", "bias"}
    assert state.batch_stats == {}


@pytest.mark.parametrize("name", ["softmax", "cnn"])
def test_the_initial_loss_is_near_ln_10(name, rng):
    model, _ = NETWORKS[name]
    images = jnp.asarray(0.25 * rng.standard_normal((64, 32, 32, 3)), jnp.float32)
    params = jax.jit(model.init)(jax.random.key(0), images)["params"]
    logits = jax.jit(model.apply)({"params": params}, images)
    loss = float(cross_entropy(logits, jnp.asarray(rng.integers(0, 10, 64))))
    assert abs(loss - math.log(10)) < 0.35


def assert_uniform(kernel, bound):
    """Fills the whole range and nothing beyond, with a uniform distribution's deviation."""
    assert np.abs(kernel).max() <= bound
    assert np.abs(kernel).max() > 0.95 * bound
    assert kernel.std() == pytest.approx(bound / math.sqrt(3), rel=0.05)
    assert abs(kernel.mean()) < 0.1 * bound


def params_of(model, shape=(1, 32, 32, 3)):
    params = jax.jit(model.init)(jax.random.key(1), jnp.zeros(shape))["params"]
    for layer in params.values():
        assert not layer["bias"].any()
    return {name: np.asarray(layer["kernel"]) for name, layer in params.items()}


def test_softmax_starts_glorot_uniform():
    kernels = params_of(models.Softmax())
    assert_uniform(kernels["Dense_0"], math.sqrt(6 / (3072 + 10)))


def test_cnn_starts_he_uniform_and_glorot_uniform():
    kernels = params_of(models.CNN())
    assert {name: kernel.shape for name, kernel in kernels.items()} == {
        "Conv_0": (3, 3, 3, 64),
        "Conv_1": (3, 3, 64, 64),
        "Dense_0": (8 * 8 * 64, 10),
    }
    assert_uniform(kernels["Conv_0"], math.sqrt(6 / 27))
    assert_uniform(kernels["Conv_1"], math.sqrt(6 / 576))
    assert_uniform(kernels["Dense_0"], math.sqrt(6 / (4096 + 10)))


def test_mlp_starts_as_it_is_told():
    shape = (1, 8, 8, 3)
    normal = params_of(models.MLP(features=(300,)), shape)["Dense_0"]
    assert normal.std() == pytest.approx(math.sqrt(2 / 192), rel=0.02)
    assert np.abs(normal).max() > math.sqrt(6 / 192)  # beyond any He-uniform
    he = params_of(models.MLP(features=(300,), kernel_init="he_uniform"), shape)["Dense_0"]
    assert_uniform(he, math.sqrt(6 / 192))
    glorot = params_of(models.MLP(features=(300,), kernel_init="glorot_uniform"), shape)
    assert_uniform(glorot["Dense_0"], math.sqrt(6 / (192 + 300)))
    assert_uniform(glorot["Dense_1"], math.sqrt(6 / (300 + 10)))


def variables_of(model, images):
    return {"params": jax.jit(model.init)(jax.random.key(0), images)["params"]}


def test_intermediates_of_the_cnn(rng):
    images = jnp.asarray(rng.standard_normal((2, 12, 8, 3)), jnp.float32)
    model = models.CNN(features=(5, 6), num_classes=7)
    variables = variables_of(model, images)
    shown = intermediates(model, variables, images)
    assert [(name, value.shape) for name, value in shown.items()] == [
        ("conv1", (2, 12, 8, 5)),
        ("pool1", (2, 6, 4, 5)),
        ("conv2", (2, 6, 4, 6)),
        ("pool2", (2, 3, 2, 6)),
        ("logits", (2, 7)),
    ]
    conv, pool = np.asarray(shown["conv1"]), np.asarray(shown["pool1"])
    assert conv.min() == 0  # after ReLU
    np.testing.assert_array_equal(conv.reshape(2, 6, 2, 4, 2, 5).max(axis=(2, 4)), pool)
    np.testing.assert_array_equal(shown["logits"], model.apply(variables, images))


@pytest.mark.parametrize(
    ("activation", "f"),
    [("relu", lambda x: np.maximum(x, 0)), ("tanh", np.tanh), ("none", lambda x: x)],
)
def test_the_mlp_is_what_its_formula_says(activation, f, rng):
    images = rng.standard_normal((3, 4, 5, 2)).astype(np.float32)
    model = models.MLP(features=(6, 7), activation=activation, num_classes=3)
    variables = variables_of(model, jnp.asarray(images))
    layers = jax.tree.map(np.float64, variables["params"])
    x, hidden = images.reshape(3, -1).astype(np.float64), []
    for name in ("Dense_0", "Dense_1"):
        x = f(x @ layers[name]["kernel"] + layers[name]["bias"])
        hidden.append(x)
    logits = x @ layers["Dense_2"]["kernel"] + layers["Dense_2"]["bias"]
    shown = intermediates(model, variables, jnp.asarray(images))
    assert list(shown) == ["hidden1", "hidden2", "logits"]
    for got, expected in zip(shown.values(), [*hidden, logits], strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_softmax_has_only_logits():
    images = jnp.ones((2, 3, 3, 1))
    model = models.Softmax(num_classes=5)
    shown = intermediates(model, variables_of(model, images), images)
    assert {name: value.shape for name, value in shown.items()} == {"logits": (2, 5)}


@pytest.mark.parametrize("name", ["mlp_relu", "cnn"])
def test_one_image_at_a_time_gives_the_same_logits(name, rng):
    """No network mixes the images of a batch."""
    model, _ = NETWORKS[name]
    images = jnp.asarray(rng.standard_normal((3, 8, 8, 3)), jnp.float32)
    variables = variables_of(model, images)
    apply = jax.jit(model.apply, static_argnames="train")
    together = apply(variables, images, train=True)
    for i in range(3):
        alone = apply(variables, images[i : i + 1], train=False)
        np.testing.assert_allclose(alone[0], together[i], rtol=1e-4, atol=1e-5)


def test_more_poolings_than_the_image_allows_is_the_users_mistake():
    from jaxcv.errors import UserError

    model = models.CNN(features=(2,) * 4)
    assert jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 16, 16, 1)))
    with pytest.raises(UserError, match="--features must be at most 3 numbers"):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 15, 99, 1)))
