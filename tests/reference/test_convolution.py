import numpy as np
import pytest
import scipy.signal

from jaxcv.reference import conv2d, conv2d_backward, conv2d_nchw, conv2d_nchw_backward

# (image height and width, kernel height and width, stride, padding)
CASES = [
    pytest.param((5, 5), (3, 3), 1, "same", id="same"),
    pytest.param((5, 4), (3, 3), 1, "valid", id="valid"),
    pytest.param((7, 5), (3, 2), (2, 3), "same", id="same-odd-even-kernel-stride"),
    pytest.param((4, 4), (2, 2), 1, "same", id="same-even-kernel"),
    pytest.param((6, 6), (3, 3), 2, "same", id="same-asymmetric"),
    pytest.param((7, 8), (2, 3), 3, "valid", id="stride-larger-than-kernel"),
    pytest.param((9, 9), (1, 1), 4, "same", id="stride-larger-1x1"),
    pytest.param((1, 1), (1, 1), 1, "same", id="image-1x1"),
    pytest.param((1, 1), (3, 3), 1, "same", id="image-1x1-kernel-3x3"),
    pytest.param((4, 5), (4, 5), 1, "valid", id="kernel-as-large-as-image"),
    pytest.param((4, 4), (3, 3), 1, 2, id="padding-2"),
    pytest.param((5, 6), (3, 2), (2, 1), ((0, 2), (1, 0)), id="explicit"),
    pytest.param((1, 7), (1, 3), (1, 2), "same", id="one-row"),
]


def brute_force(x, kernel, bias, stride, before, outputs):
    """The definition, element by element."""
    batch, height, width, _ = x.shape
    kh, kw, channels_in, channels_out = kernel.shape
    y = np.zeros((batch, *outputs, channels_out))
    for n, i, j, o in np.ndindex(*y.shape):
        total = bias[o]
        for a, b, c in np.ndindex(kh, kw, channels_in):
            row, column = stride[0] * i + a - before[0], stride[1] * j + b - before[1]
            if 0 <= row < height and 0 <= column < width:
                total += x[n, row, column, c] * kernel[a, b, c, o]
        y[n, i, j, o] = total
    return y


def expected_geometry(image, kernel, stride, padding):
    """(stride, zeros in front, outputs) written independently, per axis."""
    strides = stride if isinstance(stride, tuple) else (stride, stride)
    before, outputs = [], []
    for axis in range(2):
        if padding == "same":
            out = int(np.ceil(image[axis] / strides[axis]))
            missing = (out - 1) * strides[axis] + kernel[axis] - image[axis]
            front, both = max(missing, 0) // 2, max(missing, 0)
        elif padding == "valid":
            front, both = 0, 0
        elif isinstance(padding, int):
            front, both = padding, 2 * padding
        else:
            front, both = padding[axis][0], sum(padding[axis])
        before.append(front)
        outputs.append(1 + int((image[axis] + both - kernel[axis]) / strides[axis]))
    return strides, before, outputs


def draw(image, kernel, integers=False, channels=(2, 3), batch=2):
    rng = np.random.default_rng(7)
    shapes = [(batch, *image, channels[0]), (*kernel, *channels), (channels[1],)]
    if integers:
        return tuple(rng.integers(-5, 6, shape).astype(float) for shape in shapes)
    return tuple(rng.normal(size=shape) for shape in shapes)


@pytest.mark.parametrize(("image", "kernel", "stride", "padding"), CASES)
def test_equals_the_definition_exactly_on_integers(image, kernel, stride, padding):
    x, w, b = draw(image, kernel, integers=True)
    expected = brute_force(x, w, b, *expected_geometry(image, kernel, stride, padding))
    np.testing.assert_array_equal(conv2d(x, w, b, stride, padding), expected)


@pytest.mark.parametrize(("image", "kernel", "stride", "padding"), CASES)
def test_gradients_equal_central_differences(image, kernel, stride, padding, assert_gradients):
    x, w, b = draw(image, kernel)
    y = conv2d(x, w, b, stride, padding)
    dy = np.random.default_rng(8).normal(size=y.shape)
    assert_gradients(
        lambda x, w, b: conv2d(x, w, b, stride, padding),
        (x, w, b),
        conv2d_backward(dy, x, w, stride, padding),
        dy,
    )


@pytest.mark.parametrize(("image", "kernel", "stride", "padding"), CASES)
def test_backward_is_the_adjoint_exactly_on_integers(image, kernel, stride, padding):
    x, w, _ = draw(image, kernel, integers=True)
    y = conv2d(x, w, None, stride, padding)
    dy = np.random.default_rng(9).integers(-5, 6, y.shape).astype(float)
    dx, dw, db = conv2d_backward(dy, x, w, stride, padding)
    assert (dx * x).sum() == (dy * y).sum() == (dw * w).sum()
    np.testing.assert_array_equal(db, dy.sum((0, 1, 2)))


@pytest.mark.parametrize("mode", ["valid", "same"])
def test_equals_scipy(mode):
    x, w, b = draw((8, 7), (3, 3))
    y = conv2d(x, w, b, 1, mode)
    for n in range(2):
        for o in range(3):
            expected = b[o] + sum(
                scipy.signal.correlate(x[n, :, :, c], w[:, :, c, o], mode) for c in range(2)
            )
            np.testing.assert_allclose(y[n, :, :, o], expected, rtol=0, atol=1e-13)


def test_course_forward_known_answer():
    x = np.linspace(-0.1, 0.5, 2 * 3 * 4 * 4).reshape(2, 3, 4, 4)
    w = np.linspace(-0.2, 0.3, 3 * 3 * 4 * 4).reshape(3, 3, 4, 4)
    b = np.linspace(-0.1, 0.2, 3)
    printed = [
        [
            [[-0.08759809, -0.10987781], [-0.18387192, -0.2109216]],
            [[0.21027089, 0.21661097], [0.22847626, 0.23004637]],
            [[0.50813986, 0.54309974], [0.64082444, 0.67101435]],
        ],
        [
            [[-0.98053589, -1.03143541], [-1.19128892, -1.24695841]],
            [[0.69108355, 0.66880383], [0.59480972, 0.56776003]],
            [[2.36270298, 2.36904306], [2.38090835, 2.38247847]],
        ],
    ]
    np.testing.assert_allclose(conv2d_nchw(x, w, b, 2, 1), printed, rtol=0, atol=5.01e-9)


def test_course_backward_shapes_and_gradients(assert_gradients):
    draws = np.random.RandomState(231)
    x, w = draws.randn(4, 3, 5, 5), draws.randn(2, 3, 3, 3)
    b, dy = draws.randn(2), draws.randn(4, 2, 5, 5)
    gradients = conv2d_nchw_backward(dy, x, w, 1, 1)
    assert [g.shape for g in gradients] == [x.shape, w.shape, b.shape]
    assert_gradients(lambda x, w, b: conv2d_nchw(x, w, b, 1, 1), (x, w, b), gradients, dy)


def test_layouts_agree():
    x, w, b = draw((5, 6), (3, 2))
    y = conv2d(x, w, b, (2, 1), "valid")
    dy = np.random.default_rng(1).normal(size=y.shape)
    dx, dw, db = conv2d_backward(dy, x, w, (2, 1), "valid")

    def nchw(array):
        return array.transpose(0, 3, 1, 2)

    oihw = w.transpose(3, 2, 0, 1)
    np.testing.assert_array_equal(conv2d_nchw(nchw(x), oihw, b, (2, 1), "valid"), nchw(y))
    got = conv2d_nchw_backward(nchw(dy), nchw(x), oihw, (2, 1), "valid")
    np.testing.assert_array_equal(got[0], nchw(dx))
    np.testing.assert_array_equal(got[1], dw.transpose(3, 2, 0, 1))
    np.testing.assert_array_equal(got[2], db)


def test_defaults_are_stride_1_same_and_no_bias():
    x, w, _ = draw((4, 4), (3, 3))
    np.testing.assert_array_equal(conv2d(x, w), conv2d(x, w, np.zeros(3), 1, "same"))
    dy = np.ones((2, 4, 4, 3))
    for got, expected in zip(
        conv2d_backward(dy, x, w), conv2d_backward(dy, x, w, 1, "same"), strict=True
    ):
        np.testing.assert_array_equal(got, expected)


def test_one_channel_identity_kernel():
    x, _, _ = draw((5, 5), (3, 3), channels=(1, 1), batch=1)
    identity = np.zeros((3, 3, 1, 1))
    identity[1, 1] = 1.0
    np.testing.assert_array_equal(conv2d(x, identity), x)
    np.testing.assert_array_equal(conv2d_backward(x, x, identity)[0], x)


def test_same_puts_the_odd_zero_at_the_end():
    # One output per 2 pixels of 4 with kernel 3 needs one zero; XLA puts it after the image.
    x = np.arange(1.0, 5.0).reshape(1, 1, 4, 1)
    y = conv2d(x, np.ones((1, 3, 1, 1)), stride=2)
    np.testing.assert_array_equal(y.ravel(), [1 + 2 + 3, 3 + 4])


def test_casts_to_float64_and_leaves_its_inputs_alone():
    x, w, b = (array.astype(np.float32) for array in draw((4, 4), (3, 3)))
    kept = x.copy(), w.copy(), b.copy()
    y = conv2d(x, w, b)
    assert y.dtype == np.float64
    assert all(g.dtype == np.float64 for g in conv2d_backward(y, x, w))
    for array, before in zip((x, w, b), kept, strict=True):
        np.testing.assert_array_equal(array, before)
    whole = x.astype(np.float64)
    conv2d_backward(conv2d(whole, w), whole, w)
    np.testing.assert_array_equal(whole, x)


X, W = np.ones((1, 3, 3, 2)), np.ones((2, 2, 2, 4))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X[0], W), r"x must have axes \(batch, height, width, channels_in\)"),
        ((X[:0], W), "x must not be empty"),
        ((X, W[0]), r"kernel must have axes"),
        ((X[..., :1], W), "x has 1 channels, kernel takes 2"),
        ((X, W, np.ones(3)), r"bias must have shape \(4,\)"),
        ((X, W, np.ones((1, 4))), r"bias must have axes"),
        ((X, np.ones((4, 1, 2, 1)), None, 1, "valid"), "a window of 4 does not fit into 3"),
        ((X, W, None, 0), "stride must be a positive integer or a pair"),
        ((X, W, None, (1, -1)), "stride must be"),
        ((X, W, None, (1, 1, 1)), "stride must be"),
        ((X, W, None, 1, "full"), "padding must be 'same', 'valid'"),
        ((X, W, None, 1, -1), "padding must be"),
        ((X, W, None, 1, ((1, 1), (1,))), "padding must be"),
        ((X, W, None, 1, ((1, 1), (0, -1))), "padding must be"),
        ((X, W, None, 1, ((1, 1),)), "padding must be"),
    ],
)
def test_refuses_in_one_line(arguments, message):
    with pytest.raises(ValueError, match=message) as raised:
        conv2d(*arguments)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("stride", "padding"), [(1.5, "same"), (1, 1.5), (1, (1, 1)), (None, "same"), (1, None)]
)
def test_refuses_other_types(stride, padding):
    # TypeError where the annotations are checked at run time.
    with pytest.raises((ValueError, TypeError), match=r"stride|padding"):
        conv2d(X, W, None, stride, padding)


@pytest.mark.parametrize("shape", [(1, 3, 3, 3), (1, 2, 3, 4), (2, 3, 3, 4), (1, 3, 2, 4)])
def test_backward_refuses_another_shape_than_the_outputs(shape):
    with pytest.raises(ValueError, match=r"dy must have shape \(1, 3, 3, 4\)"):
        conv2d_backward(np.ones(shape), X, W)


def test_nchw_refuses_wrong_ranks():
    with pytest.raises(ValueError, match=r"x must have axes \(batch, channels_in"):
        conv2d_nchw(X[0], W)
    with pytest.raises(ValueError, match=r"kernel must have axes \(channels_out"):
        conv2d_nchw(X, W[0])
    with pytest.raises(ValueError, match=r"dy must have axes \(batch, channels_out"):
        conv2d_nchw_backward(X[0], np.ones((1, 2, 3, 3)), np.ones((1, 2, 3, 3)))
