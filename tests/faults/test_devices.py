"""A run on several devices computes what it computes on one, and goes on there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# A process of its own: the number of devices is decided before JAX starts.
PROGRAM = """
import dataclasses, json, sys
import jax, numpy as np
from jaxcv import Adam, Experiment, Momentum, models
from jaxcv.augment import RandomFlip, RandomTranslation
from jaxcv.layers import Dropout
from jaxcv.programs import prepare
from tests import tiny
from tests.faults.subjects import ResNet8

name, precision, steps = sys.argv[1], sys.argv[2], int(sys.argv[3])
model = {
    "mlp": models.MLP(features=(6,), num_classes=4),
    "batchnorm": models.CNNBatchNorm(features=(3, 4), num_classes=4),
    "resnet8": ResNet8(width=2, num_classes=4),
    "whole": models.CNNBatchNorm(features=(3,), num_classes=4),
}[name]
it = Experiment(
    model=model, optimizer=Momentum(0.01), precision=precision, epochs=9,
    batch_size=None if name == "whole" else 16,
    augmentation=(RandomTranslation(1), RandomFlip()) if name == "resnet8" else (),
)
# All images are trained on: a batch of them all lies shared out among the devices.
data = tiny.dataset(train=80, validation=0, test=0 if name == "whole" else 13, shape=(8, 8, 3))
with jax.enable_x64(precision == "float64"):
    results = []
    for devices in (1, 8):
        program = prepare(it, data, devices)
        state = program.initial_state(0)
        if devices == 8:
            order = program.order(state, 0)
            assert {s.data.shape[1] for s in order.addressable_shards} == {program.batch_size // 8}
        while int(state.step) < steps:
            order = program.order(state, int(state.step) // program.steps_per_epoch)
            limit = np.int32(min(steps - int(state.step), program.steps_per_epoch))
            state = program.advance(state, order, jax.device_put(limit))
        results.append(jax.device_get((state.params, state.batch_stats, state.totals["loss"])))
worst = 0.0
for a, b in zip(*map(jax.tree.leaves, results), strict=True):
    assert np.isfinite(a).all()
    worst = max(worst, float(np.max(np.abs(a - b)) / np.max(np.abs(a))))
print(json.dumps(worst))
"""


def output(program: str, devices: int, *arguments: str) -> str:
    """The last line that a program prints, in a process with so many devices."""
    environment = os.environ | {
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "PYTHONPATH": str(ROOT),
    }
    run = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "precision", "steps", "tolerance"),
    [
        pytest.param("batchnorm", "float64", 50, 1e-10, marks=pytest.mark.faults),
        ("batchnorm", "float32", 1, 1e-5),
        *(
            pytest.param(name, *rest, marks=pytest.mark.faults)
            for name in ("mlp", "resnet8", "whole")
            for rest in (("float64", 50, 1e-10), ("float32", 1, 1e-5))
        ),
    ],
)
def test_eight_devices_compute_what_one_does(name, precision, steps, tolerance):
    worst = json.loads(output(PROGRAM, 8, name, precision, str(steps)))
    print(name, precision, worst)
    assert worst <= tolerance


RESUMED = """
import json, pathlib, sys
from jaxcv import Experiment, Momentum, fit, fitting, models
from tests import tiny

fitting.load_data = lambda *arguments: tiny.dataset(train=64, validation=9, shape=(8, 8, 3))
it = Experiment(
    model=models.CNNBatchNorm(features=(3,), num_classes=4), optimizer=Momentum(0.01),
    precision="float64", batch_size=16, epochs=3, name="tiny",
)
of = lambda workdir: [
    json.loads(line)["train_loss"] for line in (workdir / "metrics.jsonl").read_text().splitlines()
]
straight, resumed = (pathlib.Path(sys.argv[1]) / name for name in ("straight", "resumed"))
fit(it, straight, verify=False)
import dataclasses
for epochs, devices in ((1, 4), (2, 2), (3, 1)):
    result = fit(
        dataclasses.replace(it, epochs=epochs), resumed, resume=True, verify=False, devices=devices
    ).record
assert result["resumed_from_steps"] == [4, 8], result
pairs = list(zip(of(resumed), of(straight), strict=True))
assert len(pairs) == 3
print(json.dumps(max(abs(a - b) / b for a, b in pairs)))
"""


@pytest.mark.faults
def test_a_run_goes_on_with_another_number_of_devices(tmp_path):
    worst = float(output(RESUMED, 4, str(tmp_path)))
    assert worst <= 1e-10
