"""One run on eight devices computes what it computes on one."""

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
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "PYTHONPATH": str(ROOT),
    }
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, name, precision, str(steps)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    worst = json.loads(run.stdout.splitlines()[-1])
    print(name, precision, worst)
    assert worst <= tolerance
