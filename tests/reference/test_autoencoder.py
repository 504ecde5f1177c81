import math

import numpy as np
import pytest

from jaxcv.reference import autoencoder_cost

DECAY, WEIGHT, TARGET = 5e-3, 0.5, 0.05


def network(features=7, hidden=4, seed=0, names=("encoder", "decoder")):
    rng = np.random.default_rng(seed)
    bound = math.sqrt(6 / (features + hidden))
    return {
        name: {
            "kernel": rng.uniform(-bound, bound, shape),
            "bias": rng.uniform(-bound, bound, shape[1]),
        }
        for name, shape in zip(names, [(features, hidden), (hidden, features)], strict=True)
    }


def patches(batch=5, features=7):
    return np.random.default_rng(1).uniform(0.1, 0.9, (batch, features))


def definition(params, data, decay, weight, target):
    """The cost as it is written down, without a thought for saturation."""
    hidden = 1 / (1 + np.exp(-(data @ params["encoder"]["kernel"] + params["encoder"]["bias"])))
    output = 1 / (1 + np.exp(-(hidden @ params["decoder"]["kernel"] + params["decoder"]["bias"])))
    mean = hidden.mean(0)
    kl = target * np.log(target / mean) + (1 - target) * np.log((1 - target) / (1 - mean))
    squares = sum((layer["kernel"] ** 2).sum() for layer in params.values())
    reconstruction = ((data - output) ** 2).sum() / (2 * len(data))
    return reconstruction + decay / 2 * squares + weight * kl.sum()


def flat_check(params, data, gradients, settings, assert_gradients, **options):
    places = [(name, part) for name in params for part in ("kernel", "bias")]

    def function(*arrays):
        replaced = {name: {} for name in params}
        for (name, part), array in zip(places, arrays, strict=True):
            replaced[name][part] = array
        return autoencoder_cost(replaced, data, *settings)[0]

    assert_gradients(
        function,
        tuple(params[name][part] for name, part in places),
        tuple(gradients[name][part] for name, part in places),
        1.0,
        **options,
    )


@pytest.mark.parametrize(
    "settings", [(DECAY, WEIGHT, TARGET), (0, 0, TARGET), (DECAY, 0, 0.2), (0, WEIGHT, TARGET)]
)
def test_cost_is_the_definition(settings):
    params, data = network(), patches()
    cost, _ = autoencoder_cost(params, data, *settings)
    assert cost == pytest.approx(definition(params, data, *settings), rel=1e-13)


@pytest.mark.parametrize("settings", [(DECAY, WEIGHT, TARGET), (0, 0, TARGET), (0.2, 3.0, 0.2)])
def test_gradients_equal_central_differences(settings, assert_gradients):
    params, data = network(), patches()
    _, gradients = autoencoder_cost(params, data, *settings)
    flat_check(params, data, gradients, settings, assert_gradients)


def test_dividing_the_decay_by_the_batch_would_be_caught(assert_gradients):
    params, data = network(), patches()
    _, gradients = autoencoder_cost(params, data, DECAY, WEIGHT, TARGET)
    for name, layer in params.items():
        gradients[name]["kernel"] -= DECAY * layer["kernel"] * (1 - 1 / len(data))
    with pytest.raises(AssertionError, match="relative_error"):
        flat_check(params, data, gradients, (DECAY, WEIGHT, TARGET), assert_gradients)


@pytest.mark.parametrize("level", [-1e4, -800.0, -100.0, 100.0, 800.0, 1e4])
def test_saturated_hidden_units(level):
    params, data = network(), patches()
    params["encoder"]["bias"][:] = level
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        cost, gradients = autoencoder_cost(params, data, DECAY, WEIGHT, TARGET)
    assert math.isfinite(cost)
    assert all(np.isfinite(part).all() for layer in gradients.values() for part in layer.values())
    # The sparsity still says which way is back: up if always off, down if always on.
    slope = (1 - TARGET if level > 0 else -TARGET) * WEIGHT
    np.testing.assert_allclose(gradients["encoder"]["bias"], slope, rtol=1e-9)


def test_saturated_outputs():
    params, data = network(), patches()
    params["decoder"]["bias"][:] = 1e4
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        cost, gradients = autoencoder_cost(params, data, 0.0, 0.0, TARGET)
    assert cost == pytest.approx(((1 - data) ** 2).sum() / (2 * len(data)), rel=1e-12)
    np.testing.assert_array_equal(gradients["decoder"]["bias"], 0.0)


def test_names():
    data = patches()
    cost, gradients = autoencoder_cost(network(), data, DECAY, WEIGHT, TARGET)
    assert set(gradients) == {"encoder", "decoder"}
    flax = network(names=("Dense_0", "Dense_1"))
    flax_cost, flax_gradients = autoencoder_cost({"params": flax}, data, DECAY, WEIGHT, TARGET)
    assert flax_cost == cost
    np.testing.assert_array_equal(
        flax_gradients["Dense_1"]["kernel"], gradients["decoder"]["kernel"]
    )
    # As many hidden units as features: only the names tell which layer comes first.
    square = network(hidden=7)
    backwards = {name: square[name] for name in ("decoder", "encoder")}
    settings = (DECAY, WEIGHT, TARGET)
    assert autoencoder_cost(backwards, data, *settings)[0] == pytest.approx(
        definition(square, data, *settings), rel=1e-13
    )


def test_does_not_change_the_parameters():
    params = network()
    autoencoder_cost(params, patches(), DECAY, WEIGHT, TARGET)
    np.testing.assert_array_equal(params["encoder"]["kernel"], network()["encoder"]["kernel"])


@pytest.mark.parametrize(
    ("data", "decay", "weight", "target", "message"),
    [
        (patches()[0], DECAY, WEIGHT, TARGET, r"data must have axes \(batch, features\)"),
        (patches()[:0], DECAY, WEIGHT, TARGET, "data must not be empty"),
        (patches(3, 6), DECAY, WEIGHT, TARGET, "x has 6 features, kernel takes 7"),
        (patches(), -1e-9, WEIGHT, TARGET, "must not be negative"),
        (patches(), DECAY, -1e-9, TARGET, "sparsity_weight must not be negative"),
        (patches(), DECAY, math.nan, TARGET, "sparsity_weight must not be negative"),
        (patches(), DECAY, WEIGHT, 0.0, "strictly between 0 and 1"),
        (patches(), DECAY, WEIGHT, 1.0, "strictly between 0 and 1"),
    ],
)
def test_refuses(data, decay, weight, target, message):
    with pytest.raises(ValueError, match=message):
        autoencoder_cost(network(), data, decay, weight, target)


def test_refuses_a_decoder_of_another_width():
    params = network()
    params["decoder"] = {"kernel": np.ones((4, 6)), "bias": np.ones(6)}
    with pytest.raises(ValueError, match=r"the reconstruction must have shape \(5, 7\)"):
        autoencoder_cost(params, patches(), DECAY, WEIGHT, TARGET)
