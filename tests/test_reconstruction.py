from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import models, reference
from jaxcv.errors import UserError
from jaxcv.reconstruction import SparseReconstruction, log_activation_sums

LOSS = SparseReconstruction(decay=1e-3, sparsity_weight=3.0, sparsity=0.05)
MODEL = models.Autoencoder(hidden=5)


def drawn(rng, scale=1.0, batch=7):
    """Images and parameters in float64; with a large scale every activation saturates."""
    images = rng.uniform(0.1, 0.9, (batch, 3, 4, 1))
    params = MODEL.init(jax.random.key(0), jnp.asarray(images))["params"]
    return images, jax.tree.map(lambda p: scale * np.asarray(p, np.float64), params)


def cost(params, images, loss=LOSS, mask=None):
    outputs: Any = MODEL.apply({"params": params}, jnp.asarray(images))
    labels = jnp.zeros(len(images), jnp.int32)
    totals = loss.totals(outputs, jnp.asarray(images), labels, params, mask)
    return loss.objective(totals, params), totals


def relative(a, b) -> float:
    """‖a − b‖ / (‖a‖ + ‖b‖) over all leaves."""
    x, y = (
        np.concatenate([np.ravel(np.asarray(leaf, np.float64)) for leaf in jax.tree.leaves(tree)])
        for tree in (a, b)
    )
    return float(np.linalg.norm(x - y) / (np.linalg.norm(x) + np.linalg.norm(y)))


# Scale 30 saturates units for some examples, 2000 for all: sums underflow there.
@pytest.mark.parametrize("scale", [1.0, 30.0, 2000.0])
def test_value_and_gradient_are_the_references_in_float64(rng, scale):
    with jax.enable_x64(True):
        images, params = drawn(rng, scale)
        value, gradient = jax.value_and_grad(lambda p: cost(p, images)[0])(params)
        expected, by_hand = reference.autoencoder_cost(
            params, images.reshape(len(images), -1), 1e-3, 3.0, 0.05
        )
        assert float(value) == pytest.approx(expected, rel=1e-12)
        assert relative(gradient, by_hand) <= 1e-9


def test_the_gradient_is_that_of_central_differences(rng):
    with jax.enable_x64(True):
        images, params = drawn(rng)
        value = jax.jit(lambda p: cost(p, images)[0])
        gradient = jax.grad(value)(params)
        step = 1e-5
        for layer, name in (("encoder", "kernel"), ("encoder", "bias"), ("decoder", "kernel")):
            numeric = np.zeros(params[layer][name].shape)
            for index in np.ndindex(numeric.shape):
                moved = {}
                for sign in (1, -1):
                    p = jax.tree.map(np.array, params)
                    p[layer][name][index] += sign * step
                    moved[sign] = float(value(p))
                numeric[index] = (moved[1] - moved[-1]) / (2 * step)
            assert relative(gradient[layer][name], numeric) <= 1e-7, (layer, name)


def test_a_decay_divided_by_the_batch_would_be_caught(rng):
    """The slip of the assignment's code: λW/N in the gradient instead of λW."""
    with jax.enable_x64(True):
        images, params = drawn(rng)
        gradient = jax.grad(lambda p: cost(p, images)[0])(params)
        slip = jax.tree.map(np.array, gradient)
        for layer in slip:
            slip[layer]["kernel"] -= LOSS.decay * params[layer]["kernel"] * (1 - 1 / len(images))
        assert relative(gradient, slip) > 1e-5  # the bound above is 1e-9


@pytest.mark.parametrize("level", [-200.0, -100.0, 100.0, 200.0])
def test_saturated_sums_are_finite_in_float32(level):
    logits = jnp.full((6, 2), level, jnp.float32).at[0, 0].add(1.0)
    (on, off), pull = jax.vjp(log_activation_sums, logits)
    z = np.asarray(logits, np.float64)
    expected = [np.logaddexp.reduce(-np.logaddexp(0, -s * z), axis=0) for s in (1, -1)]
    np.testing.assert_allclose(on, expected[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(off, expected[1], rtol=1e-5, atol=1e-6)
    (gradient,) = pull((jnp.ones(2), jnp.ones(2)))
    p, q = (np.exp(-np.logaddexp(0, -s * z) - e) for s, e in zip((1, -1), expected, strict=True))
    sigmoid = np.exp(-np.logaddexp(0, -z))
    np.testing.assert_allclose(gradient, p * (1 - sigmoid) - q * sigmoid, rtol=1e-4, atol=1e-6)


def test_both_ways_to_the_sums_agree(rng):
    """A unit that is nearly always on takes all of them the careful way."""
    logits = rng.normal(0, 2, (50, 3)).astype(np.float32)
    careful = np.concatenate([logits, np.full((50, 1), 90, np.float32)], axis=1)

    def slopes(z):
        return jax.grad(lambda z: sum(jnp.sum(log[:3]) for log in log_activation_sums(z)))(z)

    for a, b in zip(
        log_activation_sums(jnp.asarray(logits)),
        log_activation_sums(jnp.asarray(careful)),
        strict=True,
    ):
        np.testing.assert_allclose(a, b[:3], rtol=1e-5)
    np.testing.assert_allclose(
        slopes(jnp.asarray(logits)), slopes(jnp.asarray(careful))[:, :3], rtol=1e-3, atol=1e-7
    )


def test_totals_combine_and_a_mask_leaves_out(rng):
    images, params = drawn(rng, batch=9)
    params = jax.tree.map(np.float32, params)
    images = images.astype(np.float32)
    whole = cost(params, images)[1]
    both = LOSS.combine(cost(params, images[:4])[1], cost(params, images[4:])[1])
    padded = np.concatenate([images, np.full((3, 3, 4, 1), 7, np.float32)])
    masked = cost(params, padded, mask=jnp.arange(12) < 9)[1]
    nothing = cost(params, padded, mask=jnp.zeros(12, bool))[1]
    for totals in (both, masked, LOSS.combine(masked, nothing)):
        assert set(totals) == set(whole)
        for name in whole:
            np.testing.assert_allclose(totals[name], whole[name], rtol=1e-5, err_msg=name)


def test_metrics_are_the_cost_and_its_terms(rng):
    images, params = drawn(rng)
    value, totals = cost(jax.tree.map(jnp.float32, params), images.astype(np.float32))
    metrics = LOSS.metrics(jax.device_get(totals))
    assert list(metrics) == ["cost", "reconstruction", "decay", "sparsity", "activation"]
    terms = [metrics[name] for name in ("reconstruction", "decay", "sparsity")]
    assert metrics["cost"] == pytest.approx(sum(terms))
    assert metrics["cost"] == pytest.approx(float(value), rel=1e-5)
    x = images.reshape(len(images), -1)
    encoder, decoder = params["encoder"], params["decoder"]
    hidden = 1 / (1 + np.exp(-(x @ encoder["kernel"] + encoder["bias"])))
    again = 1 / (1 + np.exp(-(hidden @ decoder["kernel"] + decoder["bias"])))
    assert terms[0] == pytest.approx(np.square(again - x).sum() / 2 / len(x), rel=1e-5)
    squares = sum(np.square(layer["kernel"]).sum() for layer in (encoder, decoder))
    assert terms[1] == pytest.approx(LOSS.decay * squares / 2, rel=1e-5)
    assert metrics["activation"] == pytest.approx(hidden.mean(), rel=1e-5)
    outputs: Any = MODEL.apply({"params": params}, jnp.asarray(images))
    np.testing.assert_allclose(
        LOSS.predictions(outputs).reshape(len(x), -1), again, rtol=1e-5, atol=1e-6
    )


def test_parameters_start_uniform_between_bounds(rng):
    model = models.Autoencoder(hidden=64)
    params = model.init(jax.random.key(1), jnp.zeros((1, 16, 16, 1)))["params"]
    bound = (6 / (256 + 64)) ** 0.5
    for leaf in jax.tree.leaves(params):
        values = np.asarray(leaf)
        assert np.abs(values).max() <= bound
        # The mean of n uniform numbers has the deviation bound/√(3n): five of them.
        assert abs(values.mean()) < 5 * bound / (3 * values.size) ** 0.5
        assert np.abs(values).max() > 0.9 * bound
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 33_088


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"sparsity": 0.0}, "--sparsity"),
        ({"sparsity": 1.0}, "--sparsity"),
        ({"sparsity": float("nan")}, "--sparsity"),
        ({"decay": -1e-9}, "--decay"),
        ({"sparsity_weight": -1.0}, "--sparsity-weight"),
    ],
)
def test_numbers_out_of_range_are_one_line(settings, said):
    from jaxcv.experiment import Experiment
    from jaxcv.optimizers import SGD

    with pytest.raises(UserError, match=said) as caught:
        Experiment(model=MODEL, optimizer=SGD(), loss=SparseReconstruction(**settings))
    assert "\n" not in str(caught.value)
