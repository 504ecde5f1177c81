"""Random flags and random experiment.json files: one line or a run, never a traceback or a hang."""

import dataclasses
import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from jaxcv import cli, runtime, script
from jaxcv.data import cifar10
from jaxcv.errors import UserError
from jaxcv.experiment import Experiment, flat_settings
from jaxcv.experiment_json import to_json
from jaxcv.fitting import fit
from jaxcv.running import Run
from jaxcv.script import RunFlags
from tests.faults.ends import by_tier, ended
from tests.faults.subjects import SUBJECTS

ROOT = Path(__file__).parents[2]
SCRIPTS = ("softmax_sgd", "cnn_batchnorm", "resnet20", "mlp_relu", "autoencoder")
VALUES = (
    *("", " ", "-", "--", "=", ",", "0", "-0", "1", "2", "-1", "3.5", "1e-400", "1e400", "nan"),
    *("inf", "-inf", "0x10", "1_000", "\u0663", "10" * 20, "2147483648", "9223372036854775808"),
    *(
        "None",
        "none",
        "True",
        "False",
        "all",
        "null",
        "[]",
        "{}",
        "()",
        "'",
        '"',
        "\n",
        "\0",
        "ü🎲",
    ),
    *(
        "a" * 3000,
        "..",
        "/",
        "nowhere/x",
        "/dev/null",
        "/dev/zero",
        "/proc/self/fd/0",
        "~",
        "$HOME",
    ),
    *("digits", "cifar10", "tfds:mnist", "tfds:", "tfds:../x", "patches", "float64", "bfloat16"),
    *("0.1", "0.5", "1e-3", "10", "16", "32", "64", "128", "5", "3"),
)
JUNK = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        3.5,
        1e308,
        -1e-308,
        10**400,
        float("nan"),
        float("inf"),
        "",
        "x",
    ),
    *([], {}, [1], [[]], {"type": "CNN"}, {"type": "os.system"}, {"type": None}, ["Adam"], "nan"),
    *({"type": "Softmax"}, {"type": "Adam", "learning_rate": 0}, "digits", "patches", "\0", "../x"),
)


@pytest.fixture(autouse=True)
def _as_far_as_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything but the training itself happens: the network is traced, and the run claimed."""

    def traced(run: Run) -> dict[str, Any]:
        jax.eval_shape(lambda: run.program.initial_state(run.experiment.seed))
        return {}

    def offline(*arguments: Any) -> Path:
        raise UserError("no network here")

    monkeypatch.setattr(Run, "go", traced)
    monkeypatch.setattr("jaxcv.fitting.fit", lambda *a, **k: fit(*a, **k | {"verify": False}))
    monkeypatch.setattr(script, "check_sanity", lambda experiment: 0)
    monkeypatch.setattr(cifar10, "download", offline)
    monkeypatch.setattr(runtime, "enable_compilation_cache", lambda: None)
    monkeypatch.setattr(sys, "argv", ["jaxcv"])


def assert_properly(command: Callable[[], Any], what: object) -> int:
    try:
        status, lines, _ = ended(command)
    except Exception as error:
        raise AssertionError(f"{what}: {error!r}") from error
    assert status in (0, 2), (what, status, lines)
    assert len(lines) == (status == 2), (what, lines)
    return status


def experiment_of(name: str) -> Experiment:
    if name == "autoencoder":  # its script makes it for the flags given
        return SUBJECTS[name]
    return runpy.run_path(str(ROOT / "experiments" / f"{name}.py"))["experiment"]


def flags_of(experiment: Experiment) -> dict[str, Any]:
    """The flags, with their values where nothing is said."""
    values = {name: value for _, name, value, _ in flat_settings(experiment)}
    values |= {f.name: f.default for f in dataclasses.fields(RunFlags) if f.name != "workdir"}
    return {f"--{name.replace('_', '-')}": values[name] for name in sorted(values)}


def near(value: Any, rng: np.random.Generator) -> Any:
    """A value that may do in another's place."""
    if type(value) in (int, float) and abs(value) < 1e300:
        factor = (0, 0.3, 0.5, 1, 2, 3)[rng.integers(6)]
        return round(value * factor) if isinstance(value, int) else value * factor
    if isinstance(value, tuple | list):
        return [near(item, rng) for item in value]
    return (not value) if isinstance(value, bool) else value


@pytest.mark.parametrize(("seed", "cases"), by_tier(3, 200, 1000))
def test_random_flags(tmp_path, record_property, seed, cases):
    flags = {name: flags_of(experiment_of(name)) for name in SCRIPTS}
    rng = np.random.default_rng(seed)
    accepted = 0
    for case in range(cases):
        name = SCRIPTS[rng.integers(len(SCRIPTS))]
        arguments = ["--workdir", str(tmp_path / str(case))]
        for _ in range(rng.integers(1, 4)):
            flag = list(flags[name])[rng.integers(len(flags[name]))]
            if rng.random() < 0.6:
                value = near(flags[name][flag], rng)
                arguments += [flag, *map(str, value if isinstance(value, list) else [value])]
                continue
            value = VALUES[rng.integers(len(VALUES))]
            form = rng.integers(4)
            arguments += [[flag, value], [f"{flag}={value}"], [flag], [value, flag, value]][form]
        command = [str(ROOT / "experiments" / f"{name}.py"), *arguments]
        accepted += assert_properly(lambda c=command: cli.entry(["run", *c]), command) == 0
    record_property("accepted", accepted)


def changed(record: Any, rng: np.random.Generator) -> Any:
    """A JSON value with something in it replaced, left out or added."""
    if isinstance(record, dict) and record and rng.random() < 0.8:
        key = list(record)[rng.integers(len(record))]
        how = rng.random()
        if how < 0.1:
            return {k: v for k, v in record.items() if k != key}
        if how < 0.15:
            return record | {"unknown": JUNK[rng.integers(len(JUNK))]}
        return record | {key: changed(record[key], rng)}
    if isinstance(record, list) and record and rng.random() < 0.5:
        place = int(rng.integers(len(record)))
        return [*record[:place], changed(record[place], rng), *record[place + 1 :]]
    return near(record, rng) if rng.random() < 0.6 else JUNK[rng.integers(len(JUNK))]


@pytest.mark.parametrize(("seed", "cases"), by_tier(3, 200, 1000))
def test_random_experiment_files(tmp_path, record_property, seed, cases):
    records = [to_json(experiment_of(name)) for name in SCRIPTS]
    rng = np.random.default_rng(seed)
    accepted = 0
    for case in range(cases):
        record = records[rng.integers(len(records))]
        for _ in range(rng.integers(1, 3)):
            record = changed(record, rng)
        content = json.dumps(record).encode()
        if case % 4 == 0:  # damaged as bytes, too
            position = int(rng.integers(len(content)))
            noise = rng.bytes(int(rng.integers(0, 3)))
            content = content[:position] + noise + content[position + len(noise) * 2 :]
        path = tmp_path / f"{case}.json"
        path.write_bytes(content)
        command = ["run", str(path), "--workdir", str(tmp_path / str(case))]
        accepted += assert_properly(lambda c=command: cli.entry(c), content) == 0
    record_property("accepted", accepted)
