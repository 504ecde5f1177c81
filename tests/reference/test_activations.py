import math
from functools import partial

import numpy as np
import pytest

from jaxcv import reference

PAIRS = {
    "relu": (reference.relu, reference.relu_backward),
    "leaky_relu": (reference.leaky_relu, reference.leaky_relu_backward),
    "leaky_relu_0.3": (
        partial(reference.leaky_relu, negative_slope=0.3),
        partial(reference.leaky_relu_backward, negative_slope=0.3),
    ),
    "elu": (reference.elu, reference.elu_backward),
    "elu_0.7": (
        partial(reference.elu, alpha=0.7),
        partial(reference.elu_backward, alpha=0.7),
    ),
    "gelu_tanh": (reference.gelu, reference.gelu_backward),
    "gelu_exact": (
        partial(reference.gelu, approximate=False),
        partial(reference.gelu_backward, approximate=False),
    ),
    "tanh": (reference.tanh, reference.tanh_backward),
    "sigmoid": (reference.sigmoid, reference.sigmoid_backward),
    "log_sigmoid": (reference.log_sigmoid, reference.log_sigmoid_backward),
}

# The textbook definition at one point, without a thought for stability.
DEFINITIONS = {
    "relu": lambda x: x if x > 0 else 0.0,
    "leaky_relu": lambda x: x if x > 0 else 0.01 * x,
    "leaky_relu_0.3": lambda x: x if x > 0 else 0.3 * x,
    "elu": lambda x: x if x > 0 else math.exp(x) - 1,
    "elu_0.7": lambda x: x if x > 0 else 0.7 * (math.exp(x) - 1),
    "gelu_tanh": lambda x: (
        0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    ),
    "gelu_exact": lambda x: x * 0.5 * (1 + math.erf(x / math.sqrt(2))),
    "tanh": lambda x: (math.exp(x) - math.exp(-x)) / (math.exp(x) + math.exp(-x)),
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "log_sigmoid": lambda x: math.log(1 / (1 + math.exp(-x))),
}

# At least 0.05 from the kink at 0.
POINTS = np.concatenate([np.linspace(-4, -0.05, 12), np.linspace(0.05, 4, 12)]).reshape(2, 3, 4)


@pytest.mark.parametrize("name", PAIRS)
def test_forward_is_the_definition(name):
    expected = np.vectorize(DEFINITIONS[name])(POINTS)
    np.testing.assert_allclose(PAIRS[name][0](POINTS), expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", PAIRS)
def test_gradients_equal_central_differences(name, assert_gradients):
    forward, backward = PAIRS[name]
    dy = np.random.default_rng(0).normal(size=POINTS.shape)
    assert_gradients(forward, (POINTS,), (backward(dy, POINTS),), dy)


@pytest.mark.parametrize("name", PAIRS)
def test_nothing_overflows(name):
    x = np.array([-1e4, -800.0, -40.0, 0.0, 40.0, 800.0, 1e4])
    forward, backward = PAIRS[name]
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        assert np.isfinite(forward(x)).all()
        assert np.isfinite(backward(np.ones_like(x), x)).all()


@pytest.mark.parametrize(
    ("name", "at_zero", "slope_at_zero"),
    [
        ("relu", 0.0, 0.0),
        ("leaky_relu", 0.0, 1.0),
        ("elu_0.7", 0.0, 0.7),
        ("gelu_tanh", 0.0, 0.5),
        ("gelu_exact", 0.0, 0.5),
        ("tanh", 0.0, 1.0),
        ("sigmoid", 0.5, 0.25),
        ("log_sigmoid", -math.log(2), 0.5),
    ],
)
def test_at_zero(name, at_zero, slope_at_zero):
    forward, backward = PAIRS[name]
    assert forward([0.0])[0] == pytest.approx(at_zero, abs=1e-16)
    assert backward([1.0], [0.0])[0] == pytest.approx(slope_at_zero, abs=1e-16)


@pytest.mark.parametrize(
    ("function", "x", "expected"),
    [
        # sigmoid'(40) = e^-40 / (1 + e^-40)^2, where 1 - sigmoid(40) rounds to 0.
        ("sigmoid_backward", 40.0, math.exp(-40)),
        ("sigmoid_backward", -40.0, math.exp(-40)),
        ("tanh_backward", 25.0, 4 * math.exp(-50)),
        ("sigmoid", -700.0, math.exp(-700)),
        ("log_sigmoid", 40.0, -math.exp(-40)),
        ("log_sigmoid", -1e4, -1e4),
    ],
)
def test_saturation_keeps_its_digits(function, x, expected):
    arguments = ([1.0], [x]) if function.endswith("_backward") else ([x],)
    got = getattr(reference, function)(*arguments)[0]
    assert got == pytest.approx(expected, rel=1e-12, abs=0)


def test_gelu_keeps_its_digits_far_below_zero():
    exact = -10 * 0.5 * math.erfc(10 / math.sqrt(2))
    assert reference.gelu([-10.0], False)[0] == pytest.approx(exact, rel=1e-12, abs=0)
    # (1 + tanh u) / 2 = e^2u / (1 + e^2u), u about -11.4 at x = -6.
    u = math.sqrt(2 / math.pi) * (-6 - 0.044715 * 216)
    tanh_form = -6 * math.exp(2 * u) / (1 + math.exp(2 * u))
    assert reference.gelu([-6.0])[0] == pytest.approx(tanh_form, rel=1e-12, abs=0)


@pytest.mark.parametrize("name", PAIRS)
def test_refuses(name):
    forward, backward = PAIRS[name]
    with pytest.raises(ValueError, match="x must not be empty"):
        forward(np.ones((0, 3)))
    with pytest.raises(ValueError, match="dy must have shape"):
        backward(np.ones((3, 1)), np.ones((1, 3)))
