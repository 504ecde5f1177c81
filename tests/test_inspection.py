import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcv import layers, models, ops
from jaxcv.errors import UserError
from jaxcv.inspection import inspect
from jaxcv.models import NETWORKS, intermediates, network

COUNTS = {
    "softmax_sgd": 30_730,
    "softmax_adam": 30_730,
    "mlp_tanh": 1_578_506,
    "mlp_relu": 1_578_506,
    "cnn": 79_690,
    "cnn_batchnorm": 79_818,
    "cnn_strides": 79_818,
    "cnn_global_pool": 76_298,
    "resnet20": 269_034,
    # 3072·4000 + 4000 + 4000·10 + 10
    "two_layer": 12_332_010,
    "three_layer_sgd": 5 * 5 * 3 * 32 + 32 + 3 * 3 * 32 * 16 + 16 + 32 * 32 * 16 * 10 + 10,
    "three_layer_nesterov": 5 * 5 * 3 * 32 + 32 + 5 * 5 * 32 * 16 + 16 + 32 * 32 * 16 * 10 + 10,
    "conv_pool": 7 * 7 * 3 * 32 + 32 + 16 * 16 * 32 * 500 + 500 + 500 * 10 + 10,
    # Huang et al. 2017, table 2: depth 40 and growth 12 have 1.0 million
    "densenet": 270_706,
}


@pytest.mark.parametrize("name", COUNTS)
def test_parameters(name):
    found = inspect(network(name))
    assert found.parameters == COUNTS[name]
    assert sum(layer.parameters for layer in found.layers) == COUNTS[name]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_can_be_inspected(name):
    found = inspect(network(name))
    assert found.layers[-1].output_shape == (10,)
    assert found.multiply_adds == sum(layer.multiply_adds for layer in found.layers) > 0
    assert len({layer.name for layer in found.layers}) == len(found.layers)


def test_a_network_by_hand():
    rows = inspect(models.CNN(features=(4, 5)), (16, 12, 3)).layers
    assert [tuple(row) for row in rows] == [
        ("Conv_0", (16, 12, 4), 3 * 3 * 3 * 4 + 4, (3, 3), (1, 1), 16 * 12 * 4 * 27),
        ("max_pool_0", (8, 6, 4), 0, (4, 4), (2, 2), 0),
        ("Conv_1", (8, 6, 5), 3 * 3 * 4 * 5 + 5, (8, 8), (2, 2), 8 * 6 * 5 * 36),
        ("max_pool_1", (4, 3, 5), 0, (10, 10), (4, 4), 0),
        ("Dense_0", (10,), 60 * 10 + 10, (16, 12), None, 600),
    ]


def test_fifteen_pixels_before_global_pooling():
    *_, before, pool, dense = inspect(network("cnn_global_pool")).layers
    assert before.receptive_field == (15, 15)
    assert before.stride == (4, 4)
    assert (pool.name, pool.receptive_field) == ("global_avg_pool_0", (32, 32))
    assert dense.parameters == 650


def seen_by_the_middle(model, name, size):
    """Rows and columns of the image that the middle value of a feature map depends on."""
    rng = np.random.default_rng(0)
    image = jnp.asarray(rng.normal(size=(1, size, size, 2)), jnp.float32)
    variables = {"params": {}, **jax.jit(model.init)(jax.random.key(0), image)}
    variables.pop("intermediates", None)

    def middle(image):
        values = intermediates(model, variables, image)[name]
        return jnp.sum(values[0, values.shape[1] // 2, values.shape[2] // 2])

    rows, columns = np.nonzero(np.asarray(jax.jit(jax.grad(middle))(image))[0].any(axis=-1))
    return np.ptp(rows) + 1, np.ptp(columns) + 1


@pytest.mark.parametrize(
    ("model", "layer", "shown"),
    [
        (models.CNNGlobalPool((8, 8, 8)), "ConvBatchNorm_2/BatchNorm_0", "conv3"),
        (models.ResNet(8, 8), "ResidualBlock_2/ConvBatchNorm_1/BatchNorm_0", "stack3_block1"),
        (models.DenseNet(7, 8), "Conv_3", "block2"),
    ],
)
def test_the_receptive_field_is_where_the_gradient_is_not_zero(model, layer, shown):
    rows = {row.name: row for row in inspect(model, (48, 48, 2)).layers}
    assert rows[layer].receptive_field == seen_by_the_middle(model, shown, 48)


class Odd(nn.Module):
    """Layers that no network of ours has."""

    @nn.compact
    def __call__(self, images, train=False):
        x = nn.Conv(4, (3, 5), (2, 1), kernel_dilation=(2, 1), name="dilated")(images)
        x = jnp.where(x > 0, x, 0.1 * x)
        x = ops.avg_pool2d(x, window=(2, 3), stride=(1, 2))
        x = nn.Conv(6, (1, 1), feature_group_count=2, name="grouped")(x)
        x = layers.GroupNorm(2, name="group")(x)
        x = nn.Conv(2, (1, 1), name="last")(x)
        return jnp.einsum("bhwc,co->bo", x, self.param("free", nn.initializers.ones, (2, 10)))


def test_layers_of_any_kind():
    found = inspect(Odd(), (20, 20, 3))
    rows = {row.name: row for row in found.layers}
    assert rows["dilated"].receptive_field == (5, 5)
    assert rows["dilated"].stride == (2, 1)
    assert rows["avg_pool_0"].receptive_field == (5 + 2, 5 + 2)
    assert rows["avg_pool_0"].stride == (2, 2)
    height, width, _ = rows["grouped"].output_shape
    assert rows["grouped"].multiply_adds == height * width * 6 * 2
    # A group's mean sees the whole map, and so does what follows.
    assert rows["group"].receptive_field == rows["last"].receptive_field == (20, 20)
    assert found.parameters == sum(row.parameters for row in found.layers) + 20


def test_a_map_that_is_moved_about_is_taken_to_see_everything():
    class Turned(nn.Module):
        @nn.compact
        def __call__(self, images, train=False):
            return nn.Dense(3, name="dense")(images[:, ::-1])

    (row,) = inspect(Turned(), (6, 5, 3)).layers
    assert row.receptive_field == (6, 5)
    assert row.stride is None


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cnm", "did you mean cnn?"),
        ("resnet21", "6n"),
        ("resnet2", "6n"),
        ("zzz", "cnn_global_pool"),
    ],
)
def test_unknown_networks(name, said):
    with pytest.raises(UserError, match=said):
        network(name)


def test_any_depth_of_resnet():
    assert network("resnet32") == models.ResNet(depth=32)
    assert network("resnet110") == models.ResNet(depth=110)
