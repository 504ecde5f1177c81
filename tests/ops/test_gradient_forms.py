"""Every form of the gradients, whichever shapes the table gives it to."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcv import reference
from jaxcv.ops import filter_gradients
from jaxcv.ops.filter_gradient_table import WHOLE, Form, filter_form
from jaxcv.ops.input_gradients import input_gradient
from jaxcv.ops.padding import as_pads, as_pair

GEOMETRIES = [
    # image, kernel, stride, padding
    ((5, 6), (3, 3), 1, "same"),
    ((7, 6), (3, 2), (2, 1), ((1, 0), (2, 1))),
    ((5, 5), (2, 2), 3, "valid"),
    ((8, 7), (3, 3), 2, "same"),
    ((6, 9), (1, 4), (5, 2), 2),
    ((5, 6), (2, 3), (1, 2), "same"),
    ((3, 3), (3, 3), 1, "valid"),
    ((1, 1), (1, 1), 1, "valid"),
    ((5, 4), (1, 1), (2, 3), ((0, 1), (2, 1))),
    ((9, 4), (2, 3), (4, 3), ((3, 0), (0, 5))),
]


def example(rng: np.random.Generator, image, window, stride, padding):
    x = rng.integers(-3, 4, (6, *image, 2)).astype(np.float32)
    kernel = rng.integers(-3, 4, (*window, 2, 3)).astype(np.float32)
    y = reference.conv2d(x, kernel, None, stride, padding)
    dy = rng.integers(-3, 4, y.shape).astype(np.float32)
    steps = as_pair(stride, "stride")
    pads = as_pads(padding, image, window, steps)
    expected = reference.conv2d_backward(dy, x, kernel, stride, padding)
    return (*map(jnp.asarray, (x, kernel, dy)), steps, pads, expected)


@pytest.mark.parametrize(("image", "window", "stride", "padding"), GEOMETRIES, ids=str)
def test_filter_gradient_forms(rng, monkeypatch, image, window, stride, padding):
    x, _, dy, steps, pads, (_, expected, _) = example(rng, image, window, stride, padding)
    forms = [Form(2), Form(6), Form(2, abreast=True)]
    for form in [*forms, Form(WHOLE)] if window == (1, 1) else forms:
        monkeypatch.setattr(filter_gradients, "filter_form", lambda *_, form=form: form)
        result = filter_gradients.filter_gradient(x, dy, window, steps, pads)
        np.testing.assert_array_equal(result, expected, str(form))


@pytest.mark.parametrize(("image", "window", "stride", "padding"), GEOMETRIES, ids=str)
def test_input_gradient(rng, image, window, stride, padding):
    _, kernel, dy, steps, pads, (expected, _, _) = example(rng, image, window, stride, padding)
    np.testing.assert_array_equal(input_gradient(dy, kernel, image, steps, pads), expected)


def test_parts_of_16_bits_are_added_up_in_32(monkeypatch):
    # 600 parts of 1 would stay at 256 in bfloat16.
    monkeypatch.setattr(filter_gradients, "filter_form", lambda *_: Form(1))
    ones = jnp.ones((600, 1, 1, 1), jnp.bfloat16)
    result = filter_gradients.filter_gradient(ones, ones, (1, 1), (1, 1), ((0, 0), (0, 0)))
    assert result.dtype == jnp.bfloat16
    assert float(result[0, 0, 0, 0]) == 600


@pytest.mark.parametrize(
    ("x", "features", "window", "form"),
    [
        ((128, 32, 32, 3), 64, (3, 3), Form(8, abreast=True)),
        ((128, 16, 16, 64), 64, (3, 3), Form(8, abreast=True)),
        ((50, 16, 16, 64), 64, (3, 3), Form(2, abreast=True)),
        ((1024, 16, 16, 64), 64, (3, 3), Form(4)),  # too large a panel
        ((125, 16, 16, 64), 64, (3, 3), Form(5, abreast=True)),
        ((12, 16, 16, 64), 64, (3, 3), Form(1, abreast=True)),  # fewer than sixteen
        ((74, 16, 16, 64), 64, (3, 3), Form(2)),  # 37 would be too many
        ((127, 16, 16, 64), 64, (3, 3), Form(1)),
        ((128, 8, 8, 64), 64, (3, 3), Form(8, abreast=True)),
        ((128, 8, 8, 64), 32, (3, 3), Form(16)),
        ((128, 8, 8, 64), 128, (3, 3), Form(16)),
        ((2, 8, 8, 16), 16, (3, 3), Form(2)),
        ((3, 512, 512, 64), 64, (3, 3), Form(1)),
        ((128, 8, 8, 64), 64, (1, 1), Form(WHOLE)),
    ],
    ids=str,
)
def test_the_table_chooses(x, features, window, form):
    assert filter_form(x, (*x[:3], features), window) == form


def test_one_program_for_all_batches_of_a_size(rng):
    count = 0

    @jax.jit
    def gradient(x, dy):
        nonlocal count
        count += 1
        return filter_gradients.filter_gradient(x, dy, (3, 3), (1, 1), ((1, 1), (1, 1)))

    for _ in range(3):
        gradient(*(jnp.asarray(rng.standard_normal((2, 4, 4, c))) for c in (1, 2)))
    assert count == 1
