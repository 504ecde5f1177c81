"""How wrong a rounded computation may be: bounds that are derived, not guessed.

u is the unit roundoff: every operation returns (a ∘ b)(1 + δ) with |δ| ≤ u. A sum of n products,
in whatever order, is then off by at most γ_n Σ|a_i b_i| with γ_n = n u / (1 − n u) (Higham,
*Accuracy and Stability of Numerical Algorithms*, 2nd ed., sections 3.1 and 4.2). Rounding errors
that are independent with mean zero add up like a random walk instead (Higham & Mary 2019, theorem
2.4): with probability at least 1 − 2 exp(−λ²(1 − u)²/2) the constant is

    γ̃_n(λ) = exp(λ √n u + n u² / (1 − u)) − 1,

which is below γ_n from about n = λ² on.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

LAMBDA = 9.0
"""λ of γ̃: an element exceeds its bound by chance less than once in 10^17."""

FLOAT32 = 2.0**-24
"""Unit roundoff of float32, which every operation but a product of matrices is rounded to."""

SMALLEST = 2.0**-126
"""Smallest normal float32: what a backend that flushes subnormal numbers to zero may lose."""

ULPS: Mapping[str, float] = MappingProxyType(
    {
        "divide": 2.0,
        "sqrt": 2.0,
        "rsqrt": 3.0,
        "exp": 4.0,
        "log": 4.0,
        "log1p": 4.0,
        "logistic": 8.0,
        "expm1": 8.0,
        "tanh": 8.0,
        "erf": 8.0,
    }
)
"""Allowance of each function that no standard rounds, in units in the last place of its result.

XLA's own approximations on CPU need up to 5.4 (erf), 5.3 (expm1), 4.2 (tanh), 2.5 (log1p), 2.4
(logistic), 1.2 (log) and 1 (exp, rsqrt), over a million arguments each; accelerators divide and
take roots within 2.
"""


def unit_roundoff(bits: int) -> float:
    """Largest relative error of rounding to nearest with so many bits after the leading one."""
    return 2.0 ** -(bits + 1)


def gamma(n: int, u: float = FLOAT32) -> float:
    """γ_n: the worst case of n roundings.

    Raises:
        ValueError: n u ≥ 1, where there is no bound.
    """
    if n * u >= 1:
        raise ValueError(f"no bound for {n} roundings of {u}")
    return n * u / (1 - n * u)


def probabilistic_gamma(n: int, u: float = FLOAT32, confidence: float = LAMBDA) -> float:
    """γ̃_n(λ): n independent roundings, but for a chance of 2 exp(−λ²(1 − u)²/2)."""
    return math.expm1(confidence * math.sqrt(n) * u + n * u**2 / (1 - u))


def summation(n: int, u: float = FLOAT32) -> float:
    """The smaller of γ_n and γ̃_n: the worst case at small n, the probabilistic bound above."""
    if n * u >= 1:
        return probabilistic_gamma(n, u)
    return min(gamma(n, u), probabilistic_gamma(n, u))


def contraction(n: int, inputs: float = FLOAT32) -> float:
    """Factor of Σ|a_i b_i| that bounds the error of a sum of n products, and of what is added.

    Args:
        n: terms.
        inputs: unit roundoff that the factors are rounded to first: float32's own means not at
            all; TensorFloat-32 and bfloat16 passes round both and add up in float32.
    """
    rounded = 0.0 if inputs <= FLOAT32 else 2 * inputs + inputs**2
    return rounded + (1 + rounded) * summation(n)


def ulp(value: np.ndarray | np.floating) -> np.ndarray | np.floating:
    """Unit in the last place of float32 at a value; that of the smallest normal number below."""
    return np.spacing(np.maximum(np.abs(value), SMALLEST).astype(np.float32)).astype(np.float64)
