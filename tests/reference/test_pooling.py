import numpy as np
import pytest

from jaxcv.reference import (
    avg_pool2d,
    avg_pool2d_backward,
    global_avg_pool2d,
    global_avg_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
    max_pool2d_nchw,
    max_pool2d_nchw_backward,
)

# (image height and width, window, stride, padding, zeros in front, outputs)
CASES = [
    pytest.param((4, 6), 2, None, "valid", (0, 0), (2, 3), id="2x2"),
    pytest.param((5, 7), 2, 2, "valid", (0, 0), (2, 3), id="odd-border-dropped"),
    pytest.param((5, 7), 2, 2, "same", (0, 0), (3, 4), id="odd-same"),
    pytest.param((6, 6), 3, 1, "same", (1, 1), (6, 6), id="overlapping"),
    pytest.param((7, 5), (3, 2), (2, 1), ((1, 2), (0, 1)), (1, 0), (4, 5), id="explicit"),
    pytest.param((7, 7), 2, 3, "valid", (0, 0), (2, 2), id="stride-larger-than-window"),
    pytest.param((1, 1), 1, None, "valid", (0, 0), (1, 1), id="image-1x1"),
    pytest.param((1, 1), 3, 1, 1, (1, 1), (1, 1), id="image-1x1-padded"),
    pytest.param((3, 5), (3, 5), None, "valid", (0, 0), (1, 1), id="window-as-large-as-image"),
]


def distinct(shape):
    """Different values 0.01 apart, so that no step of 1e-5 changes which is the largest."""
    rng = np.random.default_rng(3)
    return rng.permutation(int(np.prod(shape))).reshape(shape) * 0.01 - 1.0


def windows(image, window, stride, before, outputs):
    """(i, j, list of the window's pixels in row-major order), by comparing every pixel."""
    wh, ww = (window, window) if isinstance(window, int) else window
    sh, sw = (wh, ww) if stride is None else (stride, stride) if isinstance(stride, int) else stride
    for i, j in np.ndindex(*outputs):
        top, left = i * sh - before[0], j * sw - before[1]
        inside = [
            (r, c) for r, c in np.ndindex(*image) if top <= r < top + wh and left <= c < left + ww
        ]
        yield i, j, inside, wh * ww


@pytest.mark.parametrize(("image", "window", "stride", "padding", "before", "outputs"), CASES)
def test_forward_equals_pixel_by_pixel(image, window, stride, padding, before, outputs):
    x = np.random.default_rng(4).integers(-9, 10, (2, *image, 3)).astype(float)
    largest, mean = max_pool2d(x, window, stride, padding), avg_pool2d(x, window, stride, padding)
    assert largest.shape == mean.shape == (2, *outputs, 3)
    for i, j, inside, size in windows(image, window, stride, before, outputs):
        pixels = np.stack([x[:, r, c] for r, c in inside])
        np.testing.assert_array_equal(largest[:, i, j], pixels.max(axis=0))
        np.testing.assert_array_equal(mean[:, i, j], pixels.sum(axis=0) / size)


@pytest.mark.parametrize(("image", "window", "stride", "padding", "before", "outputs"), CASES)
def test_max_backward_gives_ties_to_the_first(image, window, stride, padding, before, outputs):
    # Three values only: nearly every window has ties.
    x = np.random.default_rng(5).integers(0, 3, (2, *image, 3)).astype(float)
    dy = np.random.default_rng(6).integers(-9, 10, (2, *outputs, 3)).astype(float)
    expected = np.zeros_like(x)
    for i, j, inside, _ in windows(image, window, stride, before, outputs):
        for n, c in np.ndindex(2, 3):
            first = max(inside, key=lambda place: x[n, *place, c])
            expected[n, *first, c] += dy[n, i, j, c]
    np.testing.assert_array_equal(max_pool2d_backward(dy, x, window, stride, padding), expected)


@pytest.mark.parametrize(("image", "window", "stride", "padding", "before", "outputs"), CASES)
def test_gradients_equal_central_differences(
    image, window, stride, padding, before, outputs, assert_gradients
):
    x = distinct((2, *image, 2))
    dy = np.random.default_rng(6).normal(size=(2, *outputs, 2))
    options = (window, stride, padding)
    for forward, backward in (
        (max_pool2d, max_pool2d_backward),
        (avg_pool2d, avg_pool2d_backward),
    ):
        dx = backward(dy, x, *options)
        assert_gradients(lambda x, f=forward: f(x, *options), (x,), (dx,), dy)


def test_ties_of_a_constant_image():
    dx = max_pool2d_backward(np.ones((1, 2, 2, 1)), np.zeros((1, 4, 4, 1)))
    expected = np.zeros((4, 4))
    expected[::2, ::2] = 1.0
    np.testing.assert_array_equal(dx[0, :, :, 0], expected)


def test_a_pixel_that_wins_twice_gets_both_gradients():
    x = np.array([0.0, 5.0, 1.0]).reshape(1, 1, 3, 1)
    dx = max_pool2d_backward([[[[2.0], [3.0]]]], x, (1, 2), 1)
    np.testing.assert_array_equal(dx.ravel(), [0.0, 5.0, 0.0])


def test_padding_is_never_the_largest():
    x = -np.ones((1, 2, 2, 1))
    np.testing.assert_array_equal(max_pool2d(x, 2, 1, 1), -np.ones((1, 3, 3, 1)))
    lowest = np.full((1, 1, 1, 1), -np.inf)
    np.testing.assert_array_equal(max_pool2d_backward(np.ones_like(lowest), lowest, 3, 1, 1), 1.0)


def test_course_forward_known_answer():
    x = np.linspace(-0.3, 0.4, 2 * 3 * 4 * 4).reshape(2, 3, 4, 4)
    y = max_pool2d_nchw(x)
    np.testing.assert_array_equal(y, x[:, :, 1::2, 1::2])
    printed_first = [[-0.26315789, -0.24842105], [-0.20421053, -0.18947368]]
    printed_last = [[0.32631579, 0.34105263], [0.38526316, 0.4]]
    np.testing.assert_allclose(y[0, 0], printed_first, rtol=0, atol=5.01e-9)
    np.testing.assert_allclose(y[1, 2], printed_last, rtol=0, atol=5.01e-9)


def test_course_backward(assert_gradients):
    draws = np.random.RandomState(231)
    x, dy = draws.randn(3, 2, 8, 8), draws.randn(3, 2, 4, 4)
    dx = max_pool2d_nchw_backward(dy, x)
    assert np.count_nonzero(dx) == dy.size
    # The two largest of each window are at least 1e-3 apart: no step of 1e-5 swaps them.
    blocks = x.reshape(3, 2, 4, 2, 4, 2).transpose(0, 1, 2, 4, 3, 5).reshape(-1, 4)
    assert np.diff(np.sort(blocks)[:, -2:]).min() > 1e-3
    assert_gradients(max_pool2d_nchw, (x,), (dx,), dy)


def test_nchw_passes_its_options_on():
    x = distinct((2, 7, 5, 3))
    options = ((3, 2), (2, 1), ((1, 2), (0, 1)))
    y = max_pool2d(x, *options)
    nchw = max_pool2d_nchw(x.transpose(0, 3, 1, 2), *options)
    np.testing.assert_array_equal(nchw, y.transpose(0, 3, 1, 2))
    dx = max_pool2d_nchw_backward(nchw, x.transpose(0, 3, 1, 2), *options)
    expected = max_pool2d_backward(y, x, *options)
    np.testing.assert_array_equal(dx, expected.transpose(0, 3, 1, 2))


def test_defaults_are_2x2_without_overlap_or_padding():
    x = distinct((1, 5, 5, 2))
    for pool, backward in ((max_pool2d, max_pool2d_backward), (avg_pool2d, avg_pool2d_backward)):
        y = pool(x)
        np.testing.assert_array_equal(y, pool(x, (2, 2), (2, 2), "valid"))
        np.testing.assert_array_equal(backward(y, x), backward(y, x, 2, 2, "valid"))
        assert not backward(y, x)[:, 4].any()


def test_global_average(assert_gradients):
    x = np.arange(24.0).reshape(2, 3, 2, 2)
    y = global_avg_pool2d(x)
    np.testing.assert_array_equal(y, [[5.0, 6.0], [17.0, 18.0]])
    np.testing.assert_array_equal(y, avg_pool2d(x, (3, 2))[:, 0, 0])
    dy = np.array([[1.0, -2.0], [0.5, 3.0]])
    assert_gradients(global_avg_pool2d, (x,), (global_avg_pool2d_backward(dy, x),), dy)


X = np.ones((1, 3, 4, 2))


@pytest.mark.parametrize("pool", [max_pool2d, avg_pool2d])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X[0],), r"x must have axes \(batch, height, width, channels\)"),
        ((X[:0],), "x must not be empty"),
        ((X, 4), "a window of 4 does not fit into 3 padded pixels"),
        ((X, 0), "window must be a positive integer"),
        ((X, 2, 0), "stride must be a positive integer"),
        ((X, 2, 2, "full"), "padding must be"),
    ],
)
def test_refuses_in_one_line(pool, arguments, message):
    with pytest.raises(ValueError, match=message) as raised:
        pool(*arguments)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "padding", [((2, 0), (0, 0)), ((0, 2), (0, 0)), ((0, 0), (2, 0)), ((0, 0), (0, 2))]
)
def test_max_refuses_a_window_of_padding_only(padding):
    with pytest.raises(ValueError, match="without a pixel; it must be smaller than the window"):
        max_pool2d(X, 2, 1, padding)
    with pytest.raises(ValueError, match="without a pixel"):
        max_pool2d_backward(X, X, 2, 1, padding)
    assert avg_pool2d(X, 2, 1, padding).min() == 0.0


def test_backward_refuses_another_shape_than_the_outputs():
    for backward in (max_pool2d_backward, avg_pool2d_backward):
        with pytest.raises(ValueError, match=r"dy must have shape \(1, 1, 2, 2\)"):
            backward(X, X)
    with pytest.raises(ValueError, match=r"dy must have shape \(1, 2\)"):
        global_avg_pool2d_backward(np.ones((1, 3)), X)
    with pytest.raises(ValueError, match="x must have axes"):
        global_avg_pool2d(X[0])
    with pytest.raises(ValueError, match="x must have axes"):
        max_pool2d_nchw(X[0])
    with pytest.raises(ValueError, match="dy must have axes"):
        max_pool2d_nchw_backward(X[0], X)
