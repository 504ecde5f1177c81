import dataclasses
import importlib
import math

import jax
import numpy as np
import pytest

from jaxcv import operations, runtime
from jaxcv.benchmarks.networks import NETWORKS
from jaxcv.benchmarks.operations import conv, dense, forward_operations, training_operations


def test_a_multiply_add_is_two_operations():
    layers = [conv(4, 3, 5), dense(7, 2)]
    of_conv, of_dense = 2 * 16 * 9 * 3 * 5, 2 * 7 * 2
    assert forward_operations(layers) == of_conv + of_dense
    # The first layer's input needs no gradient.
    assert training_operations(layers) == 2 * of_conv + 3 * of_dense
    # Nor does a kernel that is not trained.
    frozen = dataclasses.replace(layers[0], frozen=True)
    assert training_operations([frozen, layers[1]]) == of_conv + 3 * of_dense


def test_the_operations_of_the_networks():
    """By hand: 32·32·27·64, 16·16·576·64 and 4096·10 multiply-adds."""
    cnn = NETWORKS["cnn"].layers
    assert forward_operations(cnn) == 2 * (1_769_472 + 9_437_184 + 40_960)
    assert training_operations(cnn) == 3 * forward_operations(cnn) - 2 * 1_769_472
    # He et al. 2015 and others count 41 million multiply-adds for ResNet-20.
    assert forward_operations(NETWORKS["resnet20"].layers) == pytest.approx(2 * 40.8e6, rel=0.01)


@pytest.fixture(scope="module")
def ours():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime, "set_up", lambda: None)
        return importlib.import_module("jaxcv.benchmarks.workers.ours")


@pytest.mark.parametrize("name", NETWORKS)
def test_the_layers_are_those_of_the_network_that_is_trained(ours, name):
    """Kernels and, counted by XLA's own analysis, the operations of the forward pass."""
    network, model = NETWORKS[name], ours.MODELS[name]
    images = jax.ShapeDtypeStruct((1, *network.image_shape), np.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    for kind, frozen in (("params", False), ("batch_stats", True)):
        shapes = [leaf.shape for leaf in jax.tree.leaves(variables.get(kind, {})) if leaf.ndim > 1]
        layers = [layer for layer in network.layers if layer.frozen is frozen]
        assert sorted(shapes) == sorted(layer.kernel for layer in layers)
    with jax.default_matmul_precision("highest"):  # sums of products, as they are counted
        cost = jax.jit(model.apply).lower(variables, images).cost_analysis()
    assert cost is not None
    # XLA counts additions and comparisons too, and leaves out products with padding.
    nominal = forward_operations(network.layers)
    assert math.isclose(cost["flops"], nominal, rel_tol=0.12)


@pytest.mark.parametrize("name", [name for name in NETWORKS if NETWORKS[name].classifies])
def test_two_ways_of_counting_what_training_takes(ours, name):
    network = NETWORKS[name]
    counted = operations.training_operations(ours.MODELS[name], network.image_shape)
    assert counted == training_operations(network.layers)
