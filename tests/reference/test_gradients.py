import numpy as np
import pytest

from jaxcv.reference import central_difference, check_gradient


def cubes(x):
    return (x**3).sum()


X = np.array([[1.0, -2.0], [0.5, 3.0]])


def test_central_difference_of_a_cubic_is_off_by_the_square_of_the_step():
    np.testing.assert_allclose(central_difference(cubes, X, 0.01), 3 * X**2 + 1e-4, rtol=1e-12)


def test_each_element_is_varied_alone():
    weights = np.arange(1.0, 7.0).reshape(2, 3)
    numeric = central_difference(lambda x: (weights * x).sum(), np.zeros((2, 3)))
    np.testing.assert_allclose(numeric, weights, rtol=1e-10)


def test_a_right_gradient_passes_and_both_measures_are_small():
    result = check_gradient(cubes, X, 3 * X**2)
    assert result.relative_error < 1e-10
    assert result.max_relative_error < 1e-9


def test_measures_by_hand():
    # True gradient (3, 4); claimed (3, 0): differences (0, 4), norms 5 and 3.
    result = check_gradient(lambda x: 3 * x[0] + 4 * x[1], [0.0, 0.0], [3.0, 0.0])
    assert result.relative_error == pytest.approx(4 / 8, rel=1e-9)
    assert result.max_relative_error == pytest.approx(1.0, rel=1e-9)


def test_the_elementwise_measure_has_a_floor():
    result = check_gradient(lambda x: 0.0, [0.0], [1e-9])
    assert result.relative_error == 1.0
    assert result.max_relative_error == pytest.approx(0.1)


def test_zero_against_zero_is_no_error():
    assert check_gradient(lambda x: 0.0, [1.0, 2.0], [0.0, 0.0]) == (0.0, 0.0)


@pytest.mark.parametrize("factor", [-1.0, 2.0, 1.0 + 1e-5])
def test_a_wrong_gradient_fails(factor):
    assert check_gradient(cubes, X, factor * 3 * X**2).relative_error > 1e-6


def test_the_step_is_the_one_asked_for():
    assert check_gradient(cubes, X, 3 * X**2, 0.1).relative_error > 1e-5


def test_the_step_that_rounding_left_is_the_one_divided_by():
    # 1e-5 is not a multiple of the spacing of the floats around 1e6, 1.2e-10.
    numeric = central_difference(lambda x: x[0] - 1e6, [1e6], 1e-5)
    assert numeric[0] == 1.0


def test_does_not_change_x():
    x = X.copy()
    central_difference(cubes, x)
    np.testing.assert_array_equal(x, X)


def test_refuses():
    with pytest.raises(ValueError, match=r"gradient must have shape \(2, 2\)"):
        check_gradient(cubes, X, X[0])
    with pytest.raises(ValueError, match="x must not be empty"):
        central_difference(cubes, [])
    for step in (0.0, -1e-5):
        with pytest.raises(ValueError, match="step must be positive"):
            check_gradient(cubes, X, X, step)
