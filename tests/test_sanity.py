import math

import jax.numpy as jnp
import pytest
from flax import linen as nn

from jaxcv import models, sanity
from jaxcv.data.dataset import Dataset
from jaxcv.errors import UserError
from jaxcv.experiment import Experiment
from jaxcv.lbfgs import LBFGS
from jaxcv.losses import CrossEntropy
from jaxcv.optimizers import SGD
from tests import tiny

PLAIN = Experiment(model=models.MLP(features=(16,)), optimizer=SGD(1e-6))


@pytest.fixture(scope="module")
def data() -> Dataset:
    return tiny.dataset(train=120, validation=5, test=5, shape=(6, 6, 1))


def test_a_sound_classifier_passes(data):
    found = sanity.check(PLAIN, data)
    assert found.holds
    assert found.initial.chance == pytest.approx(math.log(4))
    assert found.initial.deviation > 0
    assert found.overfit.accuracy >= 0.99
    text = found.text()
    assert "WRONG" not in text
    assert "100 images overfitted to 100%: ok" in text


def test_what_regularises_is_put_aside(data):
    """The experiment's own learning rate, L2 and label smoothing would keep it from learning."""
    loss = CrossEntropy(l2=1.0, label_smoothing=0.9)
    found = sanity.check(tiny.with_settings(PLAIN, loss=loss), data)
    assert found.holds
    assert found.initial.penalty > 1
    assert "of L2" in found.text()


def test_an_optimizer_of_whole_batches_and_clipped_gradients_are_put_aside(data):
    settings = {"optimizer": LBFGS(), "batch_size": None}
    assert sanity.check(tiny.with_settings(PLAIN, **settings), data).holds
    # Adam divides by the gradient's size, but adds 1e-8 to it.
    assert sanity.check(tiny.with_settings(PLAIN, clip_norm=1e-12), data).overfit.holds


class Doubtful(nn.Module):
    """A network with a fault of one's choice."""

    fault: str = "none"
    num_classes: int = 4

    @nn.compact
    def __call__(self, images, train=False):
        x = images.reshape(images.shape[0], -1)
        if self.fault == "blind":
            x = jnp.ones_like(x)
        x = nn.Dense(self.num_classes, kernel_init=nn.initializers.normal(1.0))(x)
        return nn.softmax(x) if self.fault == "two softmaxes" else x


def test_the_prediction_is_that_of_the_layers_scale(data):
    """Kernels of unit variance predict far more than ln C, and so it is."""
    found = sanity.initial_loss(tiny.with_settings(PLAIN, model=Doubtful()), data, data.train[:100])
    assert found.holds
    assert found.predicted is not None
    assert found.predicted > 1.2 * found.chance


def test_two_softmaxes_show_at_the_start(data):
    experiment = tiny.with_settings(PLAIN, model=Doubtful("two softmaxes"))
    found = sanity.initial_loss(experiment, data, data.train[:100])
    assert not found.holds


def test_a_blind_network_cannot_learn_its_images(data, monkeypatch):
    monkeypatch.setattr(sanity, "STEPS", 40)
    found = sanity.check(tiny.with_settings(PLAIN, model=Doubtful("blind")), data)
    assert not found.overfit.holds
    assert not found.holds
    assert found.overfit.steps == 40
    assert "WRONG" in found.text()


def test_too_few_images_or_no_classifier_are_the_users_mistake(data):
    with pytest.raises(UserError, match="needs 100 training images, not 37"):
        sanity.check(PLAIN, tiny.dataset())

    class NoClassifier:
        totals = objective = None

    broken = tiny.with_settings(PLAIN)
    object.__setattr__(broken, "loss", NoClassifier())
    with pytest.raises(UserError, match="no cross-entropy"):
        sanity.check(broken, data)


def test_the_flag_prints_and_ends_with_a_status(capsys, monkeypatch):
    from jaxcv import runtime, script

    monkeypatch.setattr(runtime, "enable_compilation_cache", lambda: None)
    initial = sanity.InitialLoss(2.3, 2.3, 2.3, 0.1, 0.0)
    for accuracy, status in ((1.0, 0), (0.5, 1)):
        found = sanity.Sanity(initial, sanity.Overfit(accuracy, 0.1, 100))
        monkeypatch.setattr(sanity, "check", lambda *_, found=found: found)
        with pytest.raises(SystemExit) as end:
            script.run(PLAIN, script.RunFlags(sanity=True))
        assert end.value.code == status
        assert "initial loss 2.3000: ok" in capsys.readouterr().out
