import math

import pytest

from jaxcv.errors import Astray, UserError
from jaxcv.metrics import ACCURACY, ASTRAY, COST, require_finite, require_sane


def test_which_way_is_better():
    assert ACCURACY.improves(0.6, 0.5)
    assert not ACCURACY.improves(0.5, 0.6)
    assert COST.improves(0.5, 0.6)
    assert not COST.improves(0.6, 0.5)


@pytest.mark.parametrize("score", [ACCURACY, COST])
def test_any_is_better_than_none_and_the_first_of_equals_stays(score):
    assert score.improves(0.0, None)
    assert not score.improves(0.5, 0.5)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_divergence_is_one_line(value):
    with pytest.raises(UserError, match="cost is not finite in epoch 7") as caught:
        require_finite({"decay": 1.0, "cost": value}, 7)
    assert "\n" not in str(caught.value)
    require_finite({"decay": 1.0, "cost": 0.0}, 7)


def test_a_loss_beyond_all_reason_is_one_line():
    with pytest.raises(Astray, match="the mean loss of epoch 2 is 2e\\+06, above 10,000") as caught:
        require_sane("loss", {"loss": 2e6, "accuracy": 0.9}, 2)
    assert "\n" not in str(caught.value)
    require_sane("loss", {"loss": ASTRAY, "accuracy": 0.0, "decay": 1e9}, 2)
