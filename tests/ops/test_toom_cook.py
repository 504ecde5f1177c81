"""The matrices of minimal filtering give the sliding products that they stand for."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcv.ops.toom_cook import MATRICES, matrices

ROUNDOFF = 2.0**-53


@pytest.mark.parametrize("m", sorted(MATRICES))
def test_outputs_of_a_filter(rng, m):
    output, kernel, data = MATRICES[m]
    assert output.shape == (m, m + 2)
    assert kernel.shape == (m + 2, 3)
    assert data.shape == (m + 2, m + 2)
    d, k = rng.standard_normal((100, m + 2)), rng.standard_normal((100, 3))
    expected = np.stack([np.sum(d[:, j : j + 3] * k, 1) for j in range(m)], 1)
    result = ((k @ kernel.T) * (d @ data.T)) @ output.T
    sizes = ((abs(k) @ abs(kernel).T) * (abs(d) @ abs(data).T)) @ abs(output).T
    # Each matrix is a few roundings off itself: a quotient of m differences, a product of m roots.
    assert (abs(result - expected) <= 40 * ROUNDOFF * sizes).all()


@given(
    points=st.lists(st.integers(-3, 3), min_size=3, max_size=5, unique=True),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_different_points_will_do(points, seed):
    """Exactly, in fractions: quotients of whole numbers below 2^20 are told from their floats."""
    output, kernel, data = (
        [[Fraction(float(x)).limit_denominator(10**6) for x in row] for row in matrix]
        for matrix in matrices([float(p) for p in points])
    )
    rng = np.random.default_rng(seed)
    m = len(points) - 1
    d = [Fraction(int(x)) for x in rng.integers(-9, 10, m + 2)]
    k = [Fraction(int(x)) for x in rng.integers(-9, 10, 3)]

    def times(matrix, vector):
        return [sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix]

    products = [a * b for a, b in zip(times(kernel, k), times(data, d), strict=True)]
    assert times(output, products) == [sum(d[j + i] * k[i] for i in range(3)) for j in range(m)]


def test_the_points_have_smaller_errors_than_the_usual(rng):
    """With 40 channels, in float32: a half for four outputs, two thirds for three."""

    def error(points):
        m = len(points) - 1
        a, g, b = (matrix.astype(np.float32) for matrix in matrices(points))
        d, k = (
            rng.standard_normal((2, 500, 40, m + 2, m + 2)),
            rng.standard_normal((2, 500, 40, 3, 3)),
        )
        d, k = d[0].astype(np.float32), k[0].astype(np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(d.astype(float), (3, 3), (2, 3))
        exact = np.einsum("ncijab,ncab->nij", windows, k.astype(float))
        y = a @ np.sum((g @ k @ g.T) * (b @ d @ b.T), 1, dtype=np.float32) @ a.T
        return float(np.sqrt(np.mean((y - exact) ** 2)) / exact.std())

    half, two = math.sqrt(0.5), math.sqrt(2)
    chosen = {3: [0.0, 0.5, -1, 2], 4: [0.0, half, -half, two, -two]}
    for m, points in chosen.items():
        for one, other in zip(MATRICES[m], matrices(points), strict=True):
            np.testing.assert_array_equal(one, other)
    assert error(chosen[3]) < 0.75 * error([0.0, 1, -1, 2])
    assert error(chosen[4]) < 0.6 * error([0.0, 1, -1, 2, -2])
