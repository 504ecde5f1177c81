"""Activation functions, element by element, and their derivatives.

All take an array of any shape; each backward function takes the upstream gradient dy of the same
shape and returns dx. None overflows, however large the input.
"""

import math

import numpy as np
from jaxtyping import Float64

from jaxcv.reference.arrays import Real, Values, as_float64, require_shape

_SQRT_2_OVER_PI = math.sqrt(2.0 / math.pi)
_GELU_CUBIC = 0.044715


def relu(x: Values) -> Float64[np.ndarray, "..."]:
    """max(x, 0)."""
    return np.maximum(_read(x), 0.0)


def relu_backward(dy: Values, x: Values) -> Float64[np.ndarray, "..."]:
    """Pass dy on where x > 0, else 0; the kink at 0 counts as off."""
    dy, x = _read_both(dy, x)
    return dy * (x > 0.0)


def leaky_relu(x: Values, negative_slope: Real = 0.01) -> Float64[np.ndarray, "..."]:
    """Pass x on where x >= 0, else negative_slope * x (Maas et al. 2013)."""
    x = _read(x)
    return np.where(x >= 0.0, x, negative_slope * x)


def leaky_relu_backward(
    dy: Values, x: Values, negative_slope: Real = 0.01
) -> Float64[np.ndarray, "..."]:
    """Gradient of `leaky_relu`; the kink at 0 counts as on, as in jax.nn."""
    dy, x = _read_both(dy, x)
    return dy * np.where(x >= 0.0, 1.0, negative_slope)


def elu(x: Values, alpha: Real = 1.0) -> Float64[np.ndarray, "..."]:
    """Pass x on where x > 0, else alpha (e^x - 1) (Clevert et al. 2015, equation 15)."""
    x = _read(x)
    return np.where(x > 0.0, x, alpha * np.expm1(np.minimum(x, 0.0)))


def elu_backward(dy: Values, x: Values, alpha: Real = 1.0) -> Float64[np.ndarray, "..."]:
    """Gradient of `elu`: dy where x > 0, else dy alpha e^x."""
    dy, x = _read_both(dy, x)
    return dy * np.where(x > 0.0, 1.0, alpha * np.exp(np.minimum(x, 0.0)))


def gelu(x: Values, approximate: bool = True) -> Float64[np.ndarray, "..."]:
    """Gaussian error linear unit, x Phi(x) (Hendrycks & Gimpel 2016, section 2).

    Args:
        x: Any shape.
        approximate: Whether to take the paper's tanh form in place of the normal distribution
            function Phi: x (1 + tanh u) / 2 with u = sqrt(2/pi) (x + 0.044715 x^3). True is the
            default of jax.nn.gelu, False that of PyTorch.
    """
    x = _read(x)
    # (1 + tanh u) / 2 is sigmoid(2 u), which does not cancel for negative u.
    return x * (sigmoid(2.0 * _gelu_argument(x)) if approximate else _normal_cdf(x))


def gelu_backward(dy: Values, x: Values, approximate: bool = True) -> Float64[np.ndarray, "..."]:
    """Gradient of `gelu`, in either form.

    With Phi' the normal density, dx = dy (Phi(x) + x Phi'(x)). In the tanh form
    dx = dy (s + x s (1 - s) 2 u') with s = sigmoid(2 u), u' = sqrt(2/pi) (1 + 3 * 0.044715 x^2).
    """
    dy, x = _read_both(dy, x)
    if not approximate:
        density = np.exp(-0.5 * x**2) / math.sqrt(2.0 * math.pi)
        return dy * (_normal_cdf(x) + x * density)
    u = _gelu_argument(x)
    slope = _SQRT_2_OVER_PI * (1.0 + 3.0 * _GELU_CUBIC * x**2)
    return dy * (sigmoid(2.0 * u) + x * sigmoid(2.0 * u) * sigmoid(-2.0 * u) * 2.0 * slope)


def tanh(x: Values) -> Float64[np.ndarray, "..."]:
    """Hyperbolic tangent."""
    return np.tanh(_read(x))


def tanh_backward(dy: Values, x: Values) -> Float64[np.ndarray, "..."]:
    """Gradient of `tanh`: dy / cosh(x)^2.

    Unlike dy (1 - tanh(x)^2) this does not cancel where tanh saturates.
    """
    dy, x = _read_both(dy, x)
    return dy * 4.0 * sigmoid(2.0 * x) * sigmoid(-2.0 * x)


def sigmoid(x: Values) -> Float64[np.ndarray, "..."]:
    """1 / (1 + e^-x), from e^-|x| so that nothing overflows."""
    x = _read(x)
    small = np.exp(-np.abs(x))
    return np.where(x >= 0.0, 1.0, small) / (1.0 + small)


def sigmoid_backward(dy: Values, x: Values) -> Float64[np.ndarray, "..."]:
    """Gradient of `sigmoid`: dy sigmoid(x) sigmoid(-x).

    Unlike dy s (1 - s) this does not cancel where the sigmoid saturates.
    """
    dy, x = _read_both(dy, x)
    return dy * sigmoid(x) * sigmoid(-x)


def log_sigmoid(x: Values) -> Float64[np.ndarray, "..."]:
    """Logarithm of the sigmoid, min(x, 0) - log(1 + e^-|x|): exact where the sigmoid is 0 or 1."""
    x = _read(x)
    return np.minimum(x, 0.0) - np.log1p(np.exp(-np.abs(x)))


def log_sigmoid_backward(dy: Values, x: Values) -> Float64[np.ndarray, "..."]:
    """Gradient of `log_sigmoid`: dy sigmoid(-x)."""
    dy, x = _read_both(dy, x)
    return dy * sigmoid(-x)


def _read(x: Values) -> np.ndarray:
    return as_float64(x, "x", "...")


def _read_both(dy: Values, x: Values) -> tuple[np.ndarray, np.ndarray]:
    x = _read(x)
    dy = as_float64(dy, "dy", "...")
    require_shape(dy, "dy", x.shape)
    return dy, x


def _gelu_argument(x: np.ndarray) -> np.ndarray:
    return _SQRT_2_OVER_PI * (x + _GELU_CUBIC * x**3)


def _normal_cdf(x: np.ndarray) -> np.ndarray:
    erfc = np.vectorize(math.erfc, otypes=[np.float64])
    return 0.5 * erfc(-x / math.sqrt(2.0))
