"""Operations of a training, counted by hand."""

from typing import Any

import pytest

from jaxcv import models
from jaxcv.experiment import Experiment
from jaxcv.lbfgs import LBFGS
from jaxcv.operations import training_operations, training_pflop
from jaxcv.optimizers import SGD


def test_a_plain_network():
    """Three passes, but nobody asks for the gradient of the image."""
    it = Experiment(model=models.CNN(features=(4, 5)), optimizer=SGD())
    first, second, last = 16 * 12 * 4 * 27, 8 * 6 * 5 * 36, 60 * 10
    assert training_operations(it.model, (16, 12, 3)) == 2 * (2 * first + 3 * (second + last))
    assert training_pflop(it, (16, 12, 3), 1000) == pytest.approx(
        1000 * 2e-15 * (2 * first + 3 * (second + last))
    )


def test_a_frozen_layer_counts_forward_only():
    frozen = 31 * 31 * 24 * 12
    trained = (
        30 * 30 * 64 * 9 * 24
        + 15 * 15 * 64 * 9 * 64
        + 14 * 14 * 256 * 9 * 64
        + (7 * 7 + 6 * 6 + 3 * 3) * 256 * 9 * 256
        + 256 * 10
    )
    # The first convolution's input has a gradient: the bias of the whitening is trained.
    model: Any = models.Speedrun()
    assert training_operations(model, (32, 32, 3)) == 2 * frozen + 6 * trained


def test_a_line_search_has_no_fixed_number():
    it = Experiment(model=models.Softmax(), optimizer=LBFGS(), batch_size=None)
    assert training_pflop(it, (4, 4, 1), 10) is None
