import numpy as np
import pytest

from jaxcv.metrics import means


def test_means_of_known_totals():
    got = means({"loss": np.float32(46.0), "correct": np.int32(10), "count": np.int32(20)})
    assert got == {"loss": pytest.approx(2.3), "accuracy": 0.5}
    assert {type(value) for value in got.values()} == {float}


def test_divergence_stays_visible():
    assert np.isnan(means({"loss": np.float32(np.nan), "correct": 0, "count": 1})["loss"])
    assert means({"loss": np.inf, "correct": 0, "count": 1})["loss"] == np.inf
