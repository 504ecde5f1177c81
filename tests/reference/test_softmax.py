import math

import numpy as np
import pytest

from jaxcv.reference import (
    cross_entropy,
    cross_entropy_backward,
    log_softmax,
    log_softmax_backward,
    softmax,
    softmax_backward,
)


def draw(*shape):
    return np.random.default_rng(0).normal(size=shape)


@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 4)])
def test_softmax_is_the_definition(shape):
    logits = draw(*shape)
    expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(softmax(logits), expected, rtol=1e-14)
    np.testing.assert_allclose(log_softmax(logits), np.log(expected), rtol=1e-13)


@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 4)])
def test_gradients_equal_central_differences(shape, assert_gradients):
    logits, dy = draw(*shape), np.random.default_rng(1).normal(size=shape)
    assert_gradients(softmax, (logits,), (softmax_backward(dy, logits),), dy)
    assert_gradients(log_softmax, (logits,), (log_softmax_backward(dy, logits),), dy)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_cross_entropy_gradient(smoothing, assert_gradients):
    logits, labels = 2 * draw(4, 5), [0, 4, 2, 2]
    gradient = cross_entropy_backward(-1.5, logits, labels, smoothing)
    assert_gradients(
        lambda z: cross_entropy(z, labels, smoothing), (logits,), (gradient,), np.array(-1.5)
    )


def test_cross_entropy_by_hand():
    logits = np.log([[0.2, 0.8], [0.5, 0.5]])
    assert cross_entropy(logits, [1, 0]) == pytest.approx(-(math.log(0.8) + math.log(0.5)) / 2)
    # Smoothing 0.1 over two classes: 0.95 on the label, 0.05 on the other.
    assert cross_entropy(logits[:1], [1], 0.1) == pytest.approx(
        -0.95 * math.log(0.8) - 0.05 * math.log(0.2)
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_equal_logits_cost_the_logarithm_of_the_classes(smoothing):
    assert cross_entropy(np.full((7, 10), 3.0), [1] * 7, smoothing) == pytest.approx(math.log(10))


def test_logits_of_ten_thousand():
    logits = np.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4]])
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        assert cross_entropy(logits, [0, 1]) == pytest.approx(math.log(2) / 2)
        assert cross_entropy(logits, [1, 0]) == pytest.approx((2e4 + 2e4 + math.log(2)) / 2)
        gradient = cross_entropy_backward(1.0, logits, [1, 1])
    np.testing.assert_array_equal(softmax(logits), [[1, 0, 0], [0, 0.5, 0.5]])
    np.testing.assert_array_equal(gradient, [[0.5, -0.5, 0], [0, -0.25, 0.25]])
    assert np.isfinite(softmax_backward(np.ones((2, 3)), logits)).all()


def test_adding_a_constant_changes_nothing():
    logits = draw(3, 4).round(2)
    np.testing.assert_allclose(softmax(logits + 4096.0), softmax(logits), rtol=1e-11)


Z = np.ones((2, 3))


@pytest.mark.parametrize(
    ("logits", "labels", "smoothing", "message"),
    [
        (Z[0], [0], 0.0, r"logits must have axes \(batch, classes\)"),
        (Z[:0], [], 0.0, "logits must not be empty"),
        (Z, [0], 0.0, r"labels must have shape \(2,\)"),
        (Z, [[0], [1]], 0.0, r"labels must have shape \(2,\)"),
        (Z, [0, 3], 0.0, r"labels must lie in \[0, 3\), got 0 to 3"),
        (Z, [-1, 2], 0.0, r"labels must lie in \[0, 3\), got -1 to 2"),
        (Z, [0.0, 1.0], 0.0, "labels must be integers, got float64"),
        (Z, [0, 1], -0.1, r"label_smoothing must lie in \[0, 1\], got -0.1"),
        (Z, [0, 1], 1.1, "label_smoothing must lie"),
        (Z, [0, 1], math.nan, "label_smoothing must lie"),
    ],
)
def test_cross_entropy_refuses(logits, labels, smoothing, message):
    with pytest.raises(ValueError, match=message):
        cross_entropy(logits, labels, smoothing)
    with pytest.raises(ValueError, match=message):
        cross_entropy_backward(1.0, logits, labels, smoothing)


def test_softmax_refuses():
    for function in (softmax, log_softmax):
        with pytest.raises(ValueError, match="logits must have axes"):
            function(1.0)
        with pytest.raises(ValueError, match="logits must not be empty"):
            function([])
    for function in (softmax_backward, log_softmax_backward):
        with pytest.raises(ValueError, match="dy must have shape"):
            function(Z.T, Z)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32])
def test_labels_may_be_of_any_whole_type(dtype):
    logits, labels = np.arange(6.0).reshape(2, 3), np.array([2, 0])
    assert cross_entropy(logits, labels.astype(dtype)) == cross_entropy(logits, labels)
