import dataclasses
import math
import typing

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcv import models
from jaxcv.constraints import Traced, is_numeric
from jaxcv.errors import UserError
from jaxcv.experiment import Experiment, flat_settings, merge, replace_settings, split
from jaxcv.losses import CrossEntropy
from jaxcv.optimizers import SGD, Adam, AdamW, Momentum
from jaxcv.reconstruction import SparseReconstruction
from jaxcv.schedules import Constant, Piecewise, WarmupCosine

positive = st.floats(1e-6, 1e6)
fraction = st.floats(0, 0.999)
pairs = st.lists(st.tuples(positive, positive), max_size=3)
# Classes and their arguments: the parts themselves are made in the test, since the check of
# annotations draws random numbers of its own, which Hypothesis forbids in strategies.
SETTINGS = st.fixed_dictionaries(
    {
        "model": st.sampled_from(
            [
                (models.Softmax, ()),
                (models.MLP, ((3, 4), "tanh")),
                (models.CNN, ((5,),)),
            ]
        ),
        "optimizer": st.one_of(
            st.tuples(st.just(SGD), st.tuples(positive)),
            st.tuples(st.just(Momentum), st.tuples(positive, fraction, st.booleans())),
            st.tuples(st.just(Adam), st.tuples(positive, fraction, fraction, positive)),
            st.tuples(st.just(AdamW), st.tuples(positive, fraction, fraction, positive, positive)),
        ),
        "loss": st.tuples(st.just(CrossEntropy), st.tuples(fraction, positive)),
        "schedule": st.one_of(
            st.just((Constant, ())),
            pairs.map(
                lambda p: (Piecewise, (tuple(sorted(b for b, _ in p)), tuple(f for _, f in p)))
            ),
            st.tuples(st.just(WarmupCosine), st.tuples(positive, positive)),
        ),
        "name": st.sampled_from(["a", "b"]),
        "epochs": st.integers(1, 300),
        "seed": st.integers(0, 2**32 - 1),
        "data_seed": st.integers(0, 9),
        "validation": st.one_of(st.none(), st.integers(1, 99)),
        "patience": st.one_of(st.none(), st.integers(1, 9)),
        "clip_norm": st.one_of(st.none(), positive),
    }
)


def built(settings: dict) -> Experiment:
    parts = {"model", "optimizer", "loss", "schedule"}
    return Experiment(**{name: v[0](*v[1]) if name in parts else v for name, v in settings.items()})


NOT_COMPILED = ("name", "data", "data_dir", "data_seed", "validation", "epochs", "patience", "seed")


def base(**settings) -> Experiment:
    return Experiment(**({"model": models.Softmax(), "optimizer": SGD(0.1)} | settings))


@given(SETTINGS)
def test_merge_is_the_inverse_of_split(settings):
    experiment = built(settings)
    static, hyper = split(experiment)
    back = merge(static, hyper)
    kept = {name: getattr(experiment, name) for name in NOT_COMPILED}
    assert dataclasses.replace(back, **kept) == experiment


@given(SETTINGS)
def test_the_static_half_holds_no_number(settings):
    experiment = built(settings)
    static, hyper = split(experiment)
    for _, name, value, hint in flat_settings(static):
        if is_numeric(hint) and value is not None:
            leaves = value if isinstance(value, tuple) else (value,)
            assert all(isinstance(leaf, Traced) for leaf in leaves)
            assert name in hyper
    assert hyper["epochs"] == experiment.epochs


@given(SETTINGS, st.floats(1e-3, 0.9))
def test_experiments_that_differ_in_numbers_share_one_static_half(settings, number):
    experiment = built(settings)
    values = {}
    for path, name, value, hint in flat_settings(experiment):
        if is_numeric(hint) and value is not None and not isinstance(value, tuple):
            values[path, name] = number
    other = replace_settings(experiment, values)
    other = dataclasses.replace(
        other,
        name="z",
        epochs=experiment.epochs + 7,
        seed=5,
        data="cifar10",
        data_dir="x",
        data_seed=30,
        validation=170,
        patience=40,
    )
    (one, _), (two, _) = split(experiment), split(other)
    # Not `assert one == two`: pytest would draw up the difference anew for every example.
    same = one == two
    assert same
    assert hash(one) == hash(two)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": models.Softmax(num_classes=3)},
        {"model": models.MLP()},
        {"optimizer": Adam(0.1)},
        {"optimizer": Momentum(0.1)},
        {"clip_norm": 1.0},
        {"schedule": WarmupCosine()},
        {"precision": "bfloat16"},
        {"batch_size": 3},
    ],
)
def test_what_changes_the_program_is_static(changes):
    assert split(base())[0] != split(base(**changes))[0]


def test_merge_takes_arrays():
    static, hyper = split(
        base(schedule=Piecewise((1.0, 2.0), (0.5, 0.25)), loss=CrossEntropy(l2=0.5))
    )
    arrays = {name: jnp.asarray(value) for name, value in hyper.items()}
    merged = merge(static, arrays)
    assert merged.optimizer.learning_rate is arrays["learning_rate"]
    assert isinstance(merged.loss, CrossEntropy)
    assert merged.loss.l2 is arrays["l2"]
    assert isinstance(merged.schedule, Piecewise)
    np.testing.assert_array_equal(merged.schedule.boundaries, [1.0, 2.0])


@pytest.mark.parametrize(
    ("build", "flag", "value"),
    [
        (lambda: base(epochs=0), "--epochs", "0"),
        (lambda: base(epochs=-1), "--epochs", "-1"),
        (lambda: base(batch_size=0), "--batch-size", "0"),
        (lambda: base(seed=-1), "--seed", "-1"),
        (lambda: base(seed=2**32), "--seed", "4294967296"),
        (lambda: base(data_seed=-1), "--data-seed", "-1"),
        (lambda: base(validation=-1), "--validation", "-1"),
        (lambda: base(patience=0), "--patience", "0"),
        (lambda: base(clip_norm=0.0), "--clip-norm", "0.0"),
        (lambda: base(clip_norm=math.nan), "--clip-norm", "nan"),
        (lambda: base(optimizer=SGD(0.0)), "--learning-rate", "0.0"),
        (lambda: base(optimizer=SGD(math.nan)), "--learning-rate", "nan"),
        (lambda: base(optimizer=Adam(beta1=1.0)), "--beta1", "1.0"),
        (lambda: base(optimizer=Momentum(momentum=-0.1)), "--momentum", "-0.1"),
        (lambda: base(optimizer=AdamW(weight_decay=-1.0)), "--weight-decay", "-1.0"),
        (lambda: base(loss=CrossEntropy(label_smoothing=1.0)), "--label-smoothing", "1.0"),
        (lambda: base(loss=CrossEntropy(l2=math.inf)), "--l2", "inf"),
        (lambda: base(schedule=WarmupCosine(-1.0)), "--warmup-epochs", "-1.0"),
        (lambda: base(schedule=Piecewise((2.0, 1.0), (1.0, 1.0))), "--boundaries", "(2.0, 1.0)"),
        (lambda: base(schedule=Piecewise((1.0,), ())), "--factors", "0"),
        (lambda: base(model=models.MLP(features=(0,))), "--features", "(0,)"),
        (lambda: base(model=models.Softmax(num_classes=0)), "--num-classes", "0"),
        (lambda: base(patience=3, validation=0), "--patience", "--validation 0"),
        (lambda: base(views="mirror", loss=SparseReconstruction()), "--views", "mirror"),
        (lambda: base(name="../x"), "name", "'../x'"),
        (lambda: base(name=""), "name", "''"),
        (lambda: base(data_dir="a\0b"), "--data-dir", "'a\\x00b'"),
    ],
)
def test_no_invalid_experiment_exists(build, flag, value):
    with pytest.raises(UserError) as caught:
        build()
    assert flag in str(caught.value)
    assert value in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_parts_may_not_share_a_field():
    @dataclasses.dataclass(frozen=True)
    class Doubled(Constant):
        learning_rate: float = 1.0

    with pytest.raises(TypeError, match="learning_rate"):
        base(schedule=Doubled())


def test_every_field_of_every_part_has_a_description():
    from jaxcv.flags import descriptions
    from jaxcv.parts import PART_TYPES

    for cls in (Experiment, *PART_TYPES.values()):
        described = set(descriptions(cls))
        names = {f.name for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
        if cls is not Experiment:
            names -= {"parent", "name"}
        assert described == names, cls.__name__


def test_replace_settings_changes_only_what_is_named():
    changed = replace_settings(base(), {("optimizer", "learning_rate"): 0.5, ("", "epochs"): 3})
    assert changed == base(optimizer=SGD(0.5), epochs=3)


def test_hints_keep_their_constraints():
    hints = typing.get_type_hints(Experiment, include_extras=True)
    assert hints["clip_norm"] != float | None
