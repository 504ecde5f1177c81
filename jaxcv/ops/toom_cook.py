"""The matrices of minimal filtering: m outputs of a filter with three taps from m + 2 products.

The product of polynomials of degree 2 and m − 1 has degree m + 1: it is known from its values at
m + 2 points, infinity among them. With the points p_i this gives (Winograd 1980, *Arithmetic
Complexity of Computations*, section V; Blahut 2010, *Fast Algorithms for Signal Processing*,
section 5.2), transposed, outputs y_j = Σ_i d_{j+i} k_i as

    y = Aᵀ [(G k) ∘ (Bᵀ d)].

Rounding errors depend on the points (Barabasz, Anderson, Soodhalter & Gregg 2020, "Error Analysis
and Improving the Accuracy of Winograd Convolution for Deep Neural Networks"). For m = 4, √½ and √2
have half the errors of the usual 1 and 2: with normal numbers and 40 channels, evaluated in NumPy's
float32, 7.7e-7 of the results' standard deviation instead of 1.6e-6. For m = 3 the points ½, −1 and
2 have 4.7e-7, where 1, −1 and 2 have 7.7e-7.
"""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.polynomial import polynomial

WINDOW = 3
"""Taps of the filter."""


class Matrices(NamedTuple):
    """Of m outputs.

    Attributes:
        output: Aᵀ
        kernel: G
        data: Bᵀ
    """

    output: Float[np.ndarray, "m m+2"]
    kernel: Float[np.ndarray, "m+2 3"]
    data: Float[np.ndarray, "m+2 m+2"]


def matrices(points: Sequence[float]) -> Matrices:
    """The matrices for m + 1 different points and infinity, exact up to float64."""
    count = len(points) + 1
    outputs = count - WINDOW + 1
    output = np.zeros((outputs, count))
    kernel, data = np.zeros((count, WINDOW)), np.zeros((count, count))
    for i, point in enumerate(points):
        others = [p for p in points if p != point]
        kernel[i] = point ** np.arange(WINDOW) / math.prod(point - p for p in others)
        output[:, i] = point ** np.arange(outputs)
        data[i, :-1] = polynomial.polyfromroots(others)
    kernel[-1, -1] = output[-1, -1] = 1
    data[-1] = polynomial.polyfromroots(points)
    return Matrices(output, kernel, data)


_HALF, _TWO = math.sqrt(0.5), math.sqrt(2)

MATRICES: Mapping[int, Matrices] = MappingProxyType(
    {
        m: matrices(points)
        for m, points in ((3, (0.0, 0.5, -1, 2)), (4, (0.0, _HALF, -_HALF, _TWO, -_TWO)))
    }
)
"""By m, the length of a tile's side."""
