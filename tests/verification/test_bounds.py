import numpy as np
import pytest

from jaxcv import reference
from jaxcv.verification import running_error as re
from jaxcv.verification.bounds import FLOAT32, contraction, gamma, probabilistic_gamma, summation
from jaxcv.verification.cases import classification, normalization, pointwise
from jaxcv.verification.running_error import Bounded


def test_the_worst_case_counts_at_small_n_and_chance_above():
    assert summation(1) == gamma(1)
    assert summation(64) == gamma(64)
    assert summation(100) == probabilistic_gamma(100)
    assert summation(2**25) == pytest.approx(9 * 2**12.5 * FLOAT32, rel=0.01)
    with pytest.raises(ValueError, match="no bound"):
        gamma(2**24)


def test_factors_that_are_rounded_first_cost_their_roundoff_each():
    assert contraction(10) == summation(10)
    assert contraction(10, 2.0**-8) == pytest.approx(2 * 2.0**-8 + 2.0**-16, rel=1e-3)


def test_sums_in_float32_stay_within_the_bound(rng):
    for n in (2, 10, 1000, 30_000):
        x = rng.standard_normal(n).astype(np.float32)
        total = np.float32(0)
        for value in x:
            total = np.float32(total + value)
        exact = Bounded(x).sum((0,))
        assert abs(float(total) - exact.value) <= exact.error


# NumPy's float32 functions are within the allowances too.
PROGRAMS = {
    "difference": lambda x, y, f: x - y * y,
    "quotient": lambda x, y, f: (x + 1.0) / (y * y + 0.5),
    "exp": lambda x, y, f: f.exp(x * y),
    "expm1": lambda x, y, f: f.expm1(x) * y,
    "log": lambda x, y, f: f.log(x * x + 0.1),
    "log1p": lambda x, y, f: f.log1p(y * y),
    "tanh": lambda x, y, f: 1.0 - f.tanh(x * y),
    "logistic": lambda x, y, f: 1.0 - f.logistic(x),
    "rsqrt": lambda x, y, f: f.rsqrt(x * x + 0.1) * y,
    "where": lambda x, y, f: f.where(np.asarray(x.value if hasattr(x, "value") else x) > 0, x, y),
}


class Float32:
    exp, expm1, log, log1p, tanh, where = np.exp, np.expm1, np.log, np.log1p, np.tanh, np.where

    @staticmethod
    def logistic(x):
        return np.float32(1) / (np.float32(1) + np.exp(-x))

    @staticmethod
    def rsqrt(x):
        return np.float32(1) / np.sqrt(x)


@pytest.mark.parametrize("name", PROGRAMS)
def test_rounded_programs_stay_within_the_bound_and_near_it(name, rng):
    x, y = rng.standard_normal((2, 20_000)).astype(np.float32) * 2
    exact = PROGRAMS[name](Bounded(x), Bounded(y), re)
    rounded = PROGRAMS[name](x, y, Float32).astype(np.float64)
    error = np.abs(rounded - exact.value)
    assert (error <= exact.error).all()
    assert (exact.error <= 1e-5 * (1 + np.abs(exact.value))).all()


def same(formula, value):
    np.testing.assert_allclose(formula.value, value, rtol=1e-9, atol=1e-12)
    assert np.isfinite(formula.error).all()
    assert (formula.error >= 0).all()


@pytest.mark.parametrize("formula", pointwise.FORMULAS, ids=lambda formula: formula[0])
def test_the_formulas_of_activations_are_the_reference(formula, rng):
    name, forward, slope = formula
    x, dy = rng.standard_normal((2, 100)) * 3
    same(forward(Bounded(x)), getattr(reference, name)(x))
    same(slope(Bounded(x), Bounded(dy)), getattr(reference, f"{name}_backward")(dy, x))


def test_the_formulas_of_classification_are_the_reference(rng):
    z, dy, labels = rng.standard_normal((6, 4)), rng.standard_normal((6, 4)), np.arange(6) % 4
    same(classification.softmax_formula(z), reference.softmax(z))
    same(classification.softmax_gradient_formula(dy, z), reference.softmax_backward(dy, z))
    same(
        classification.cross_entropy_formula(z, labels, 0.2),
        reference.cross_entropy(z, labels, 0.2),
    )
    same(
        classification.cross_entropy_gradient_formula(1.5, z, labels, 0.2),
        reference.cross_entropy_backward(1.5, z, labels, 0.2),
    )


def test_the_formulas_of_normalisation_are_the_reference(rng):
    x, dy, scale = rng.standard_normal((5, 3)), rng.standard_normal((5, 3)), np.array([1, 2, 3.0])
    epsilon = normalization.EPSILON
    y, _, _ = reference.batch_norm(x, scale, None, epsilon=epsilon)
    same(normalization.Standardized(x, (0,), epsilon).z * scale, y)
    gradients = reference.batch_norm_backward(dy, x, scale, epsilon)
    formulas = normalization.batch_norm_gradient_formula(dy, x, scale)
    for formula, gradient in zip(formulas, gradients, strict=True):
        same(formula, gradient)


def test_an_offset_costs_its_condition_number():
    x = np.random.default_rng(0).standard_normal((50, 1))
    near = normalization.Standardized(x, (0,), 1e-3).z.error.max()
    far = normalization.Standardized(x + 1000, (0,), 1e-3).z.error.max()
    assert 100 < far / near < 10_000
