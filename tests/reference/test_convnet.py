import math

import numpy as np
import pytest

from jaxcv.reference import (
    conv2d,
    conv_relu_pool,
    cross_entropy,
    dense,
    relu,
    three_layer_convnet_loss,
)


def network(rng, scale, size=8, filters=3, kernel=3, hidden=7, classes=10):
    shapes = {
        "Conv_0": (kernel, kernel, 3, filters),
        "Dense_0": ((size // 2) ** 2 * filters, hidden),
        "Dense_1": (hidden, classes),
    }
    return {
        name: {"kernel": scale * rng.normal(size=shape), "bias": np.zeros(shape[-1])}
        for name, shape in shapes.items()
    }


def test_initial_loss_is_that_of_guessing():
    rng = np.random.default_rng(0)
    params = network(rng, 1e-3, 32, 32, 7, 100)
    x, labels = rng.normal(size=(5, 32, 32, 3)), rng.integers(0, 10, 5)
    loss, _ = three_layer_convnet_loss(params, x, labels)
    assert loss == pytest.approx(math.log(10), abs=0.02)
    assert loss == pytest.approx(2.302586, abs=1e-4)
    # The course prints 2.508 with weight decay 0.5: 824,904 weights of variance 1e-6, times 1/4.
    decayed, _ = three_layer_convnet_loss(params, x, labels, 0.5)
    assert decayed == pytest.approx(2.5083, abs=2e-3)


@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_gradients_equal_central_differences(l2, assert_gradients):
    rng = np.random.default_rng(3)
    params = network(rng, 0.3, size=4, filters=2, hidden=5, classes=3)
    for layer in params.values():
        layer["bias"] = 0.1 * rng.normal(size=layer["bias"].shape)
    x, labels = rng.normal(size=(3, 4, 4, 3)), np.array([1, 2, 1])

    # A step of 1e-5 moves a pre-activation by less than 1e-4: none comes near its kink.
    conv = conv2d(x, params["Conv_0"]["kernel"], params["Conv_0"]["bias"])
    blocks = conv.reshape(3, 2, 2, 2, 2, 2).transpose(0, 1, 3, 5, 2, 4).reshape(-1, 4)
    second, first = np.sort(blocks)[:, -2:].T
    hidden = dense(
        np.maximum(first, 0).reshape(3, -1), params["Dense_0"]["kernel"], params["Dense_0"]["bias"]
    )
    assert min(np.abs(conv).min(), np.abs(hidden).min()) > 1e-4
    assert ((first - second > 1e-4) | (first < 0)).all()

    loss, gradients = three_layer_convnet_loss(params, x, labels, l2)
    assert isinstance(loss, float)
    places = [(name, part) for name in params for part in ("kernel", "bias")]

    def function(*arrays):
        replaced = {name: {} for name in params}
        for (name, part), array in zip(places, arrays, strict=True):
            replaced[name][part] = array
        return three_layer_convnet_loss(replaced, x, labels, l2)[0]

    assert_gradients(
        function,
        tuple(params[name][part] for name, part in places),
        tuple(gradients[name][part] for name, part in places),
        1.0,
    )


def test_loss_is_that_of_its_layers():
    rng = np.random.default_rng(1)
    params = network(rng, 0.3)
    x, labels = rng.normal(size=(4, 8, 8, 3)), [0, 1, 2, 3]
    loss, _ = three_layer_convnet_loss(params, x, labels, 0.2)
    conv, hidden, output = params.values()
    pooled = conv_relu_pool(x, conv["kernel"], conv["bias"]).reshape(4, -1)
    logits = dense(relu(dense(pooled, **hidden)), **output)
    squares = sum((layer["kernel"] ** 2).sum() for layer in params.values())
    assert loss == pytest.approx(cross_entropy(logits, labels) + 0.1 * squares, rel=1e-13)


def test_the_mean_over_a_doubled_batch_is_the_same():
    rng = np.random.default_rng(1)
    params = network(rng, 0.3)
    x, labels = rng.normal(size=(3, 8, 8, 3)), np.array([0, 1, 2])
    loss, gradients = three_layer_convnet_loss(params, x, labels, 0.1)
    twice, doubled = three_layer_convnet_loss(
        params, np.concatenate([x, x]), np.concatenate([labels, labels]), 0.1
    )
    assert twice == pytest.approx(loss, rel=1e-13)
    for name, layer in gradients.items():
        for part, gradient in layer.items():
            np.testing.assert_allclose(doubled[name][part], gradient, rtol=1e-9, atol=1e-15)


def test_parameters_may_be_wrapped_and_in_any_order():
    rng = np.random.default_rng(1)
    params = network(rng, 0.3)
    x, labels = rng.normal(size=(2, 8, 8, 3)), [0, 1]
    loss, gradients = three_layer_convnet_loss(params, x, labels)
    shuffled = {"params": dict(reversed(params.items()))}
    other, same = three_layer_convnet_loss(shuffled, x, labels)
    assert other == loss
    np.testing.assert_array_equal(same["Dense_0"]["kernel"], gradients["Dense_0"]["kernel"])


def test_does_not_change_the_parameters():
    params = network(np.random.default_rng(1), 0.3)
    before = {name: layer["kernel"].copy() for name, layer in params.items()}
    three_layer_convnet_loss(params, np.ones((1, 8, 8, 3)), [0], 0.5)
    for name, kernel in before.items():
        np.testing.assert_array_equal(params[name]["kernel"], kernel)


def test_refuses():
    params = network(np.random.default_rng(1), 0.3)
    x = np.ones((2, 8, 8, 3))
    with pytest.raises(ValueError, match="x must have axes"):
        three_layer_convnet_loss(params, x[0], [0])
    with pytest.raises(ValueError, match="x must not be empty"):
        three_layer_convnet_loss(params, x[:0], [])
    with pytest.raises(ValueError, match="x has 12 features, kernel takes 48"):
        three_layer_convnet_loss(params, x[:, :4, :4], [0, 1])
    with pytest.raises(ValueError, match="labels must have shape"):
        three_layer_convnet_loss(params, x, [0])
    with pytest.raises(ValueError, match="strength of a penalty must not be negative"):
        three_layer_convnet_loss(params, x, [0, 1], -1.0)
    with pytest.raises(ValueError, match="expected 1 convolutions and 2 dense layers, got 0 and 2"):
        three_layer_convnet_loss({k: params[k] for k in ("Dense_0", "Dense_1")}, x, [0, 1])
