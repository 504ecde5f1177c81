import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxcv import checkpoints, fitting, journal, models, outcome
from jaxcv.constraints import Count
from jaxcv.divergence import BadStep, explained, place_in_step, repeated
from jaxcv.errors import Diverged
from jaxcv.experiment import Experiment
from jaxcv.fitting import fit
from jaxcv.optimizers import SGD
from jaxcv.programs import prepare
from tests import tiny

DATA = tiny.dataset(train=40)
STEPS = 40 // 8


@jax.custom_vjp
def breaking(x, forward, backward):
    return jnp.where(forward, jnp.nan, x)


breaking.defvjp(
    lambda x, forward, backward: (breaking(x, forward, backward), backward),
    lambda backward, dy: (jnp.where(backward, jnp.inf, dy), None, None),
)


class Breaking(nn.Module):
    """Passes its input on, but in one step: counts them in batch_stats."""

    forward: int
    backward: int

    @nn.compact
    def __call__(self, x, train):
        step = self.variable("batch_stats", "step", lambda: jnp.zeros(()))
        now = step.value + 1
        if train and not self.is_initializing():
            step.value = now
        elif not train:
            return x
        return breaking(x, now == self.forward, now == self.backward)


class Net(nn.Module):
    """Three layers, the second of which is made to break; their names run against the alphabet."""

    forward: int = -1
    backward: int = -1
    num_classes: Count = 4

    @nn.compact
    def __call__(self, images, train: bool = False):
        x = nn.Dense(6, name="stem")(images.reshape(len(images), -1))
        x = Breaking(self.forward, self.backward, name="break")(x, train)
        return nn.Dense(self.num_classes, name="head")(x)


def experiment(**settings) -> Experiment:
    model = Net(**settings)
    return Experiment(model=model, optimizer=SGD(0.01), batch_size=8, epochs=3, validation=11)


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({"forward": 8}, "the activations of break"),
        ({"backward": 8}, "the gradients of stem"),
    ],
)
def test_the_step_and_the_layer_are_found(settings, place):
    program = prepare(experiment(**settings), DATA)
    begun = program.initial_state(0)
    # A state that others still hold is not donated.
    bad = repeated(program, begun, 3 * STEPS)
    assert isinstance(bad, BadStep)
    assert (int(bad.before.step), int(bad.after.step)) == (7, 8)
    assert int(begun.step) == 0
    # From later on, too; before it, all is well.
    middle = repeated(program, begun, 6)
    assert not isinstance(middle, BadStep)
    assert int(middle.step) == 6
    again = repeated(program, middle, 3 * STEPS)
    assert isinstance(again, BadStep)
    for a, b in zip(
        jax.tree.leaves(again.before.params), jax.tree.leaves(bad.before.params), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert place_in_step(program, bad) == place
    error, good = explained(program, begun, 10, Diverged("something"))
    assert place in str(error)
    assert "step 8 (epoch 2)" in str(error)
    assert int(good.step) == 7


def test_an_update_that_overflows_is_named():
    it = dataclasses.replace(experiment(), optimizer=SGD(3e38), batch_size=8)
    program = prepare(it, DATA)
    bad = repeated(program, program.initial_state(0), STEPS)
    assert isinstance(bad, BadStep)
    assert int(bad.after.step) <= 2
    assert place_in_step(program, bad).startswith(("the new values of ", "the activations of "))


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs on tiny data draw no pictures and write no page."""
    monkeypatch.setattr(fitting, "load_data", lambda *arguments: DATA)
    monkeypatch.setattr(outcome, "write_figures", lambda *arguments: [])
    monkeypatch.setattr(journal, "first_kernel", lambda *arguments: None)
    monkeypatch.setattr(outcome, "write_report", lambda workdir: workdir / "report.html")


@pytest.mark.parametrize("minutes", [5.0, 1e-9])
def test_a_run_says_where_and_leaves_the_last_good_state(plain, tmp_path, minutes):
    for resume in (False, True):  # started again it says the same
        with pytest.raises(Diverged) as caught:
            fit(
                experiment(backward=8),
                tmp_path,
                resume=resume,
                verify=False,
                checkpoint_minutes=minutes,
            )
        assert "the gradients of stem are not finite in step 8 (epoch 2)" in str(caught.value)
        assert "\n" not in str(caught.value)
        saved = checkpoints.restore(tmp_path / "checkpoints")
        assert saved is not None
        assert (int(saved.state.step), saved.epoch) == (7, 1)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(saved.state.params))
        assert saved.best is not None
        assert math.isfinite(saved.best.score)
    assert not (tmp_path / "result.json").exists()


def test_divergence_that_only_evaluation_shows_names_the_layer(plain, tmp_path):
    """The first step's parameters are large and finite; no training step sees them."""
    it = dataclasses.replace(
        experiment(), model=models.MLP(features=(8,)), optimizer=SGD(1e30), batch_size=40, epochs=1
    )
    with pytest.raises(Diverged) as caught:
        fit(it, tmp_path, verify=False)
    assert "for validation images are not finite after step 1" in str(caught.value)
    assert "the activations of Dense_" in str(caught.value)
    assert "--learning-rate" in str(caught.value)
    saved = checkpoints.restore(tmp_path / "checkpoints")
    assert saved is not None
    assert int(saved.state.step) == 0
