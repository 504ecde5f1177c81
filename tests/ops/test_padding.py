import numpy as np
import pytest

from jaxcv import reference
from jaxcv.ops.padding import as_pads, as_pair, output_size


@pytest.mark.parametrize("value", [2, np.int64(2), (2, 2), [2, np.int32(2)]], ids=repr)
def test_one_number_stands_for_two(value):
    assert as_pair(value, "stride") == (2, 2)


@pytest.mark.parametrize("value", [0, (1, 0), (1,), (1, 2, 3)], ids=repr)
def test_a_pair_is_two_positive_integers(value):
    with pytest.raises(ValueError, match="stride must be one or two integers"):
        as_pair(value, "stride")


def test_paddings():
    geometry = ((5, 6), (3, 2), (2, 1))
    assert as_pads("valid", *geometry) == ((0, 0), (0, 0))
    assert as_pads("SAME", *geometry) == ((1, 1), (0, 1))
    assert as_pads(3, *geometry) == ((3, 3), (3, 3))
    assert as_pads([(1, 2), (np.int64(3), 4)], *geometry) == ((1, 2), (3, 4))


@pytest.mark.parametrize("size", range(1, 9))
@pytest.mark.parametrize("window", range(1, 5))
@pytest.mark.parametrize("stride", range(1, 4))
def test_same_padding_is_the_references(size: int, window: int, stride: int):
    geometry = ((size, size), (window, window), (stride, stride))
    pads = as_pads("same", *geometry)
    expected = -(-size // stride)
    assert output_size(*geometry, pads) == (expected, expected)
    # Ones under a window of ones: a window counts the pixels that it sees.
    x, kernel = np.ones((1, size, size, 1)), np.ones((window, window, 1, 1))
    np.testing.assert_array_equal(
        reference.conv2d(x, kernel, None, stride, pads),
        reference.conv2d(x, kernel, None, stride, "same"),
    )
