"""L-BFGS in the training chunk, and the sparse autoencoder as a run."""

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcv import fitting, models, outcome, reference
from jaxcv.data.dataset import Dataset
from jaxcv.epochs import Pace, run_epoch
from jaxcv.errors import UserError
from jaxcv.exits import Interrupted
from jaxcv.experiment import Experiment
from jaxcv.figures import first_kernel
from jaxcv.fitting import fit
from jaxcv.lbfgs import LBFGS
from jaxcv.optimizers import SGD, Adam
from jaxcv.programs import Program, prepare, resolve
from jaxcv.reconstruction import SparseReconstruction
from jaxcv.script import Choice, RunFlags
from jaxcv.trained import load
from jaxcv.training import TrainState
from tests import tiny

LOSS = SparseReconstruction(decay=1e-3, sparsity_weight=0.1, sparsity=0.1)


def patches(validation: int = 0) -> Dataset:
    """Forty patches of 4×4 that five patterns explain."""
    rng = np.random.default_rng(0)
    patterns = rng.standard_normal((5, 16))
    raw = rng.standard_normal((40, 5)) @ patterns
    images = (0.1 + 0.8 * (raw - raw.min()) / np.ptp(raw)).astype(np.float32)
    train = np.arange(validation, 40, dtype=np.int32)
    return Dataset(
        name="patches",
        images=images.reshape(40, 4, 4, 1),
        labels=np.zeros(40, np.int32),
        train=train,
        validation=np.arange(validation, dtype=np.int32),
        test=train,
        classes=(),
    ).check()


def experiment(optimizer: Any = None, **settings: Any) -> Experiment:
    base = {
        "model": models.Autoencoder(hidden=3),
        "loss": LOSS,
        "optimizer": optimizer or LBFGS(),
        "batch_size": None,
        "data": "patches",
        "name": "tiny",
        "epochs": 8,
    }
    return Experiment(**(base | settings))


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> Dataset:
    it = patches()
    monkeypatch.setattr(fitting, "load_data", lambda *arguments: it)
    return it


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcome, "write_figures", lambda *arguments: [])


def costs_of(workdir: Path) -> list[float]:
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["train_cost"] for line in lines]


def epoch(program: Program, state: TrainState) -> TrainState:
    """One step on all patches."""
    return list(run_epoch(program, state, program.order(state, 0), 0, Pace()))[-1][0]


# --- L-BFGS -------------------------------------------------------------------------------------


def test_an_iteration_is_optax_own(data):
    """The chunk against Optax's documented loop."""
    program = prepare(experiment(), data)
    state = program.initial_state(0)
    params = jax.tree.map(jnp.array, state.params)
    images = jnp.asarray(data.images)

    def cost(params):
        outputs: Any = experiment().model.apply({"params": params}, images)
        return LOSS.objective(
            LOSS.totals(outputs, images, jnp.zeros(40, jnp.int32), params), params
        )

    search = optax.scale_by_zoom_linesearch(20, initial_guess_strategy="one")
    solver: Any = optax.lbfgs(1.0, memory_size=10, linesearch=search)
    opt_state = solver.init(params)
    again = optax.value_and_grad_from_state(cost)

    @jax.jit
    def iteration(params, opt_state):
        value, gradient = again(params, state=opt_state)
        updates, opt_state = solver.update(
            gradient, opt_state, params, value=value, grad=gradient, value_fn=cost
        )
        return optax.apply_updates(params, updates), opt_state

    for _ in range(3):
        params, opt_state = iteration(params, opt_state)
    for _ in range(3):
        state = epoch(program, state)
    for a, b in zip(jax.tree.leaves(state.params), jax.tree.leaves(params), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4)


def test_every_iteration_lowers_the_cost_and_one_compilation_serves(data):
    with jax.enable_x64(True):
        program = prepare(experiment(precision="float64"), data)
        state, _ = program.compile(program.initial_state(1))
        costs = []
        with tiny.compilations() as compiled:
            for _ in range(12):
                expected = program.evaluate(state.params, state.batch_stats, "test")
                state = epoch(program, state)
                # What the line search kept is what a forward pass would give.
                for name, value in jax.device_get(expected).items():
                    np.testing.assert_allclose(state.totals[name], value, rtol=1e-10)
                costs.append(jax.device_get(state.totals))
        assert [name for name in compiled if "train_chunk" in name] == []
        values = [LOSS.metrics(totals)["cost"] for totals in costs]
    assert all(b < a for a, b in itertools.pairwise(values))


@pytest.mark.parametrize(
    "settings", [{"batch_size": 8}, {"clip_norm": 1.0}, {"augmentation": (lambda k, x: x,)}]
)
def test_another_objective_at_each_step_is_refused(data, settings):
    if "augmentation" in settings:
        from jaxcv.augment import RandomFlip

        settings = {"augmentation": (RandomFlip(),)}
    with pytest.raises(UserError, match="LBFGS needs the same objective") as caught:
        prepare(experiment(**settings), data)
    assert "\n" not in str(caught.value)


# --- runs ---------------------------------------------------------------------------------------


def test_a_run_leaves_costs_and_their_terms(data, tmp_path):
    result = fit(experiment(), tmp_path / "run").record
    assert "test_accuracy" not in result
    assert result["val_cost"] is None
    lines = [json.loads(x) for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    terms = ["cost", "reconstruction", "decay", "sparsity", "activation"]
    assert list(lines[0]) == [
        "epoch", "step", *[f"train_{t}" for t in terms], *[f"val_{t}" for t in terms],
        "learning_rate", "seconds", "images_per_second", "evaluations", "gradient_norm",
    ]  # fmt: skip
    assert [line["epoch"] for line in lines] == list(range(1, 9))
    # A line is of the parameters before its step, the result of the last.
    assert result["test_cost"] < lines[-1]["train_cost"] < lines[0]["train_cost"]
    trained = load(tmp_path / "run")
    by_hand, _ = reference.autoencoder_cost(
        trained.params, data.images.reshape(40, -1), 1e-3, 0.1, 0.1
    )
    assert result["test_cost"] == pytest.approx(by_hand, rel=1e-5)
    again = trained.predict(data.images[:2])
    assert again.shape == (2, 4, 4, 1)
    figures = {path.stem for path in (tmp_path / "run" / "figures").iterdir()}
    assert figures == {"curves", "reconstructions", "cost_terms", "activations", "features"}
    page = (tmp_path / "run" / "report.html").read_text()
    assert "test cost" in page
    assert "accuracy" not in page


def test_held_out_patches_give_the_best_epoch_by_cost(plain, tmp_path, monkeypatch):
    it = patches(validation=8)
    monkeypatch.setattr(fitting, "load_data", lambda *arguments: it)
    result = fit(experiment(SGD(0.3), epochs=5), tmp_path / "run").record
    lines = [json.loads(x) for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    costs = [line["val_cost"] for line in lines]
    assert result["best_epoch"] == 1 + costs.index(min(costs))
    assert result["val_cost"] == costs[-1]


def test_gradient_descent_is_the_references(data, plain, tmp_path):
    """Fifty steps, cost by cost."""
    it = experiment(SGD(0.35), epochs=50)
    start = prepare(it, data).initial_state(0)
    params = jax.tree.map(lambda p: np.asarray(p, np.float64), start.params)
    x, expected = data.images.reshape(40, -1), []
    for _ in range(50):
        value, gradient = reference.autoencoder_cost(params, x, 1e-3, 0.1, 0.1)
        expected.append(value)
        params = jax.tree.map(lambda p, g: p - 0.35 * g, params, gradient)
    fit(it, tmp_path / "run")
    np.testing.assert_allclose(costs_of(tmp_path / "run"), expected, rtol=1e-5)


def test_a_converged_run_ends_and_stays_ended(data, plain, tmp_path):
    loose = experiment(LBFGS(tolerance=0.05), epochs=200)
    result = fit(loose, tmp_path / "run").record
    assert result["epochs"] < 200
    lines = [json.loads(x) for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    norms = [line["gradient_norm"] for line in lines]
    assert norms[-1] <= 0.05 < min(norms[:-1])
    # Stopped by a signal when it had converged, and resumed: not a step more.
    asked = iter([0] * (len(lines) - 1) + [15] * 9)
    with pytest.raises(Interrupted):
        fit(loose, tmp_path / "stopped", signalled=lambda: next(asked))
    resumed = fit(loose, tmp_path / "stopped", resume=True).record
    assert resumed["params_sha256"] == result["params_sha256"]
    assert resumed["epochs"] == result["epochs"]


def test_a_classifier_needs_labels(data, tmp_path):
    it = Experiment(model=models.Softmax(), optimizer=SGD(), data="patches")
    with pytest.raises(UserError, match="no labels"):
        fit(it, tmp_path / "run")


# --- scripts ------------------------------------------------------------------------------------

SOLVERS = Choice("solver", {"lbfgs": experiment(), "adam": experiment(Adam())}, note="which one")


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ([], LBFGS),
        (["--epochs", "3"], LBFGS),
        (["--solver", "adam"], Adam),
        (["--seed", "1", "--solver=adam"], Adam),
        (["--solver", "lbfgs", "--solver", "adam"], Adam),
    ],
)
def test_a_flag_chooses_the_experiment(arguments, kind):
    from jaxcv.flags import parse_experiment

    it, flags = SOLVERS.chosen(arguments, RunFlags)
    it, given = parse_experiment(it, arguments, "x.py", "", flags)
    assert isinstance(it.optimizer, kind)
    assert isinstance(given, RunFlags)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], (9, 5)),
        (["--epochs", "3"], (3, 5)),
        (["--data", "cifar10"], (7, 10)),
        (["--data=cifar10", "--memory", "2"], (7, 2)),
        (["--solver", "adam"], None),
    ],
)
def test_defaults_may_depend_on_the_data(arguments, expected):
    from jaxcv.flags import parse_experiment

    it = experiment(epochs=7, data="digits")
    choice = Choice(
        "solver",
        {"lbfgs": it, "adam": dataclasses.replace(it, optimizer=Adam())},
        for_data={"digits": {"epochs": 9, "memory": 5}},
    )
    if expected is None:
        with pytest.raises(KeyError, match="memory"):
            choice.chosen(arguments, RunFlags)
        return
    it, flags = choice.chosen(arguments, RunFlags)
    it, _ = parse_experiment(it, arguments, "x.py", "", flags)
    assert isinstance(it.optimizer, LBFGS)
    assert (it.epochs, it.optimizer.memory) == expected


@pytest.mark.parametrize("arguments", [["--solver", "newton"], ["--solver"]])
def test_an_unknown_choice_is_one_line(arguments):
    from jaxcv.flags import parse_experiment

    it, flags = SOLVERS.chosen(arguments, RunFlags)
    with pytest.raises(UserError, match="lbfgs, adam") as caught:
        parse_experiment(it, arguments, "x.py", "", flags)
    assert "\n" not in str(caught.value)


def test_bytes_are_refused_before_anything_is_learnt_from_them(tmp_path):
    for name in ("digits", "tfds:mnist"):
        images = dataclasses.replace(tiny.dataset(), name=name)
        with pytest.raises(UserError, match=f"learns patches of them: --data patches:{name}$"):
            resolve(experiment(), images)


def test_the_features_are_the_encoders_also_where_the_decoder_has_as_many():
    """16 hidden units and 16 pixels: both kernels are square."""
    model = models.Autoencoder(hidden=16)
    params: Any = model.init(jax.random.key(0), jnp.zeros((1, 4, 4, 1)))["params"]
    assert params["decoder"]["kernel"].shape == params["encoder"]["kernel"].shape
    assert first_kernel(params, (4, 4, 1)) is params["encoder"]["kernel"]
