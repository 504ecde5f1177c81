import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcv import models
from jaxcv.errors import UserError
from jaxcv.experiment import Experiment
from jaxcv.experiment_json import differences, from_json, to_json
from jaxcv.losses import CrossEntropy
from jaxcv.optimizers import SGD, Adam, AdamW, Momentum
from jaxcv.parts import PART_TYPES
from jaxcv.schedules import Constant, Piecewise, WarmupCosine

EXAMPLES = {
    "model": [
        models.Softmax(num_classes=3),
        models.MLP(features=(5, 6), activation="tanh", kernel_init="glorot_uniform"),
        models.MLP(features=()),
        models.CNN(features=(7,)),
    ],
    "optimizer": [
        SGD(0.3),
        Momentum(0.1, 0.5, True),
        Adam(1e-4, 0.8, 0.9, 1e-5),
        AdamW(1e-4, 0.8, 0.9, 1e-5, 0.01),
    ],
    "loss": [CrossEntropy(0.1, 1e-4)],
    "schedule": [Constant(), Piecewise((1.0, 2.5), (0.1, 0.01)), WarmupCosine(2.0, 0.1)],
}


def good() -> dict:
    return to_json(Experiment(model=models.CNN(), optimizer=Adam()))


@pytest.mark.parametrize(
    ("field", "part"), [(field, part) for field, parts in EXAMPLES.items() for part in parts]
)
def test_every_part_survives_json(field, part):
    settings = {"model": models.CNN(), "optimizer": Adam()} | {field: part}
    experiment = Experiment(**settings)
    assert from_json(json.loads(json.dumps(to_json(experiment))), PART_TYPES) == experiment


@pytest.mark.parametrize("kind", PART_TYPES)
def test_every_known_part_survives_json_with_its_defaults(kind):
    part = PART_TYPES[kind]()
    methods = {"model": "apply", "optimizer": "transform", "loss": "totals", "schedule": "factor"}
    roles = [role for role, method in methods.items() if hasattr(part, method)]
    if not roles:
        pytest.skip("no part of an experiment by itself")
    settings = {"model": models.CNN(), "optimizer": Adam()} | {roles[0]: part}
    experiment = Experiment(**settings)
    assert from_json(json.loads(json.dumps(to_json(experiment))), PART_TYPES) == experiment


def test_the_experiments_own_fields_survive_json():
    experiment = Experiment(
        model=models.Softmax(),
        optimizer=SGD(),
        name="x",
        data="tfds:mnist",
        data_dir="/somewhere",
        data_seed=3,
        validation=7,
        normalization="standardize",
        epochs=4,
        batch_size=5,
        clip_norm=1.5,
        patience=2,
        seed=2**32 - 1,
        precision="bfloat16",
    )
    assert from_json(json.loads(json.dumps(to_json(experiment))), PART_TYPES) == experiment


def test_whole_numbers_stand_for_floats_and_defaults_may_be_absent():
    record = {
        "model": {"type": "Softmax"},
        "optimizer": {"type": "SGD", "learning_rate": 1},
        "loss": {"type": "CrossEntropy"},
        "schedule": {"type": "Piecewise", "boundaries": [1], "factors": [2]},
        "clip_norm": 3,
    }
    experiment = from_json(record, PART_TYPES)
    assert experiment == Experiment(
        model=models.Softmax(),
        optimizer=SGD(1.0),
        schedule=Piecewise((1.0,), (2.0,)),
        clip_norm=3.0,
    )
    assert type(experiment.optimizer.learning_rate) is float


DEEP: list = []
for _ in range(600):
    DEEP = [DEEP]

HOSTILE = [
    ({"model": {"type": "os.system"}}, "os.system"),
    ({"model": {"type": "Experiment"}}, "Experiment"),
    ({"model": {"type": ["CNN"]}}, "unknown type"),
    ({"model": {}}, "unknown type"),
    ({"model": None}, "unknown type"),
    ({"model": []}, "unknown type"),
    ({"model": {"type": "Constant"}}, "model cannot be of the type Constant"),
    ({"model": {"type": "Adam"}}, "model cannot be"),
    ({"optimizer": {"type": "Softmax"}}, "optimizer cannot be"),
    ({"loss": {"type": "SGD"}}, "loss cannot be"),
    ({"schedule": {"type": "CrossEntropy"}}, "schedule cannot be"),
    ({"augmentation": [{"type": "SGD"}]}, "augmentation cannot be"),
    ({"augmentation": [{"type": "CNN"}]}, "augmentation cannot be"),
    ({"augmentation": [3]}, "augmentation"),
    ({"augmentation": None}, "augmentation"),
    ({"augmentation": {"0": 1}}, "augmentation"),
    ({"surprise": 1}, "surprise"),
    ({"a\nb": 1}, "no field"),
    ({"model": {"type": "CNN", "parent": {}}}, "parent"),
    ({"model": {"type": "CNN", "name": "x"}}, "name"),
    ({"model": {"type": "CNN", "features": "64"}}, "--features"),
    ({"model": {"type": "CNN", "features": {"a": 1}}}, "--features"),
    ({"model": {"type": "CNN", "features": [[3]]}}, "--features"),
    ({"model": {"type": "CNN", "features": DEEP}}, ""),
    ({"data": DEEP}, ""),
    ({"optimizer": {"type": "SGD", "learning_rate": "fast"}}, "--learning-rate"),
    ({"optimizer": {"type": "SGD", "learning_rate": None}}, "--learning-rate"),
    ({"optimizer": {"type": "SGD", "learning_rate": 10**400}}, "--learning-rate"),
    ({"optimizer": {"type": "SGD", "learning_rate": float("nan")}}, "--learning-rate"),
    ({"optimizer": {"type": "Momentum", "nesterov": 1}}, "--nesterov"),
    ({"schedule": {"type": "Piecewise", "boundaries": [1]}}, "--factors"),
    ({"schedule": {"type": "Piecewise", "boundaries": "ab", "factors": "cd"}}, "--boundaries"),
    ({"schedule": {"type": "Piecewise", "boundaries": [2, 1], "factors": [1, 1]}}, "ascend"),
    ({"epochs": 0}, "--epochs"),
    ({"epochs": 10**400}, "--epochs"),
    ({"epochs": True}, "--epochs"),
    ({"epochs": "10"}, "--epochs"),
    ({"epochs": {}}, "--epochs"),
    ({"seed": 10**30}, "--seed"),
    ({"data": 3}, "--data"),
    ({"data": ["digits"]}, "--data"),
    ({"data_dir": "a\0b"}, "--data-dir"),
    ({"name": "../../etc"}, "name"),
    ({"name": "/etc"}, "name"),
    ({"precision": ["float32"]}, "--precision"),
    ({"precision": {}}, "--precision"),
    ({"validation": 0, "patience": 1}, "--patience"),
]


@pytest.mark.parametrize(("change", "named"), HOSTILE)
def test_hostile_json_is_one_line(change, named):
    with pytest.raises(UserError) as caught:
        from_json(good() | change, PART_TYPES)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("field", ["model", "optimizer", "loss", "schedule"])
def test_a_missing_part_is_named(field):
    record = good()
    del record[field]
    with pytest.raises(UserError, match=f"'{field}' is missing"):
        from_json(record, PART_TYPES)


junk = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["type", "features", "learning_rate", "x"]), inner, max_size=3
        ),
    ),
    max_leaves=6,
)


def read(record: dict) -> Experiment | None:
    """What from_json makes of a record; None for a refusal in one line, and no other error."""
    try:
        return from_json(record, PART_TYPES)
    except UserError as error:
        message = str(error)
    assert "\n" not in message
    return None


@given(st.dictionaries(st.sampled_from([*good(), "x"]), junk, max_size=4))
def test_random_json_gives_an_experiment_or_one_line(changes):
    experiment = read(good() | changes)
    assert experiment is None or from_json(to_json(experiment), PART_TYPES) == experiment


@given(st.sampled_from(sorted(PART_TYPES)), st.dictionaries(st.text(max_size=9), junk, max_size=3))
def test_random_parts_give_an_experiment_or_one_line(kind, fields):
    for field in ("model", "optimizer", "loss", "schedule"):
        read(good() | {field: fields | {"type": kind}})


def test_differences_name_the_settings():
    one = Experiment(model=models.CNN(), optimizer=Adam())
    other = Experiment(model=models.CNN(features=(3,)), optimizer=Adam(0.5), epochs=3)
    assert sorted(differences(to_json(one), to_json(other))) == [
        "epochs",
        "features",
        "learning_rate",
    ]
    assert differences(to_json(one), to_json(one)) == []
    third = Experiment(model=models.CNN(), optimizer=SGD(0.5))
    assert differences(to_json(one), to_json(third)) == ["optimizer ('Adam', here 'SGD')"]


def test_numpys_numbers_are_written_as_numbers():
    """They are legal settings: `for seed in np.arange(3)`."""
    it = Experiment(model=models.MLP((8,)), optimizer=Adam(1e-3))
    for name, value in {"seed": np.int64(3), "batch_size": np.int32(64)}.items():
        object.__setattr__(it, name, value)
    object.__setattr__(it.optimizer, "learning_rate", np.float64(0.5))
    record = json.loads(json.dumps(to_json(it)))
    assert (record["seed"], record["batch_size"]) == (3, 64)
    assert record["optimizer"]["learning_rate"] == 0.5
