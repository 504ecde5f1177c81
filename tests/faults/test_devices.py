"""A run on several devices computes what it computes on one, and goes on there."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.faults.processes import free_port

ROOT = Path(__file__).parents[2]
# A process of its own: the number of devices is decided before JAX starts.
PROGRAM = """
import sys
import jax, numpy as np
from jaxcv import Experiment, Momentum, models, peers
from jaxcv.augment import RandomFlip, RandomTranslation
from jaxcv.programs import prepare
from tests import tiny
from tests.faults.subjects import ResNet8

name, precision, steps, devices, file = sys.argv[1:]
steps, devices = int(steps), int(devices)
# One of several that fails ends at once, and the others notice.
sys.excepthook = lambda *error: (sys.__excepthook__(*error), peers.leave(1))
peers.join()
model = {
    "mlp": models.MLP(features=(6,), num_classes=4),
    "batchnorm": models.CNNBatchNorm(features=(3, 4), num_classes=4),
    "resnet8": ResNet8(width=2, num_classes=4),
    # For ops.winograd. With its least channels, 24, a ReLU is within a rounding of its kink.
    "tiles": ResNet8(width=28, num_classes=4),
    "whole": models.CNNBatchNorm(features=(3,), num_classes=4),
}[name]
it = Experiment(
    model=model, optimizer=Momentum(0.01), precision=precision, epochs=9,
    batch_size=None if name == "whole" else 16,
    augmentation=(RandomTranslation(1), RandomFlip()) if name == "resnet8" else (),
)
# All images are trained on: a batch of them all lies shared out among the devices.
data = tiny.dataset(train=80, validation=0, test=0 if name == "whole" else 13, shape=(8, 8, 3))
assert jax.device_count() == devices
with jax.enable_x64(precision == "float64"):
    program = prepare(it, data, devices)
    state = program.initial_state(0)
    order = program.order(state, 0)
    assert {s.data.shape[1] for s in order.addressable_shards} == {program.batch_size // devices}
    while int(state.step) < steps:
        order = program.order(state, int(state.step) // program.steps_per_epoch)
        limit = np.int32(min(steps - int(state.step), program.steps_per_epoch))
        state = program.advance(state, order, jax.device_put(limit))
    leaves = jax.tree.leaves((state.params, state.batch_stats, state.totals["loss"]))
    np.savez(file, *map(np.asarray, leaves))
peers.part()
"""


def environment(devices: int) -> dict[str, str]:
    """Of a process with so many devices of its own."""
    flags = f"--xla_force_host_platform_device_count={devices}"
    return os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}


def computed(files: Path, processes: int, devices: int, *arguments: str) -> list[list[np.ndarray]]:
    """What each process of a run on so many devices in all ends with."""
    own = environment(devices // processes)
    if processes > 1:
        own |= {
            "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{free_port()}",
            "JAX_NUM_PROCESSES": str(processes),
        }
    names = [files / f"{processes}_{devices}_{number}.npz" for number in range(processes)]
    said = [name.with_suffix(".txt") for name in names]
    with contextlib.ExitStack() as stack:
        runs = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", PROGRAM, *arguments, str(devices), str(name)],
                    env=own | ({"JAX_PROCESS_ID": str(number)} if processes > 1 else {}),
                    stderr=stack.enter_context(errors.open("w")),
                )
            )
            for number, (name, errors) in enumerate(zip(names, said, strict=True))
        ]
        for run in runs:
            stack.callback(run.kill)
        statuses = [run.wait(timeout=600) for run in runs]
    assert not any(statuses), "\n".join(path.read_text() for path in said)
    return [list(np.load(name).values()) for name in names]


def largest_difference(ours: list[np.ndarray], theirs: list[np.ndarray]) -> float:
    """Over all arrays, relative to each one's largest number."""
    pairs = list(zip(ours, theirs, strict=True))
    assert all(np.isfinite(leaf).all() for leaf in [*ours, *theirs])
    return max(float(np.max(np.abs(a - b)) / np.max(np.abs(b))) for a, b in pairs)


FIFTY, FIRST = ("float64", 50, 1e-10), ("float32", 1, 1e-5)


def often(name: str, bound: tuple[str, int, float]):
    return pytest.param(name, *bound, marks=pytest.mark.faults)


@pytest.mark.parametrize(
    ("name", "precision", "steps", "tolerance"),
    [
        ("batchnorm", *FIRST),
        often("batchnorm", FIFTY),
        *(often(name, bound) for name in ("mlp", "resnet8", "whole") for bound in (FIFTY, FIRST)),
        often("tiles", FIRST),
    ],
)
@pytest.mark.parametrize(
    ("processes", "devices"), [(1, 8), pytest.param(2, 4, marks=pytest.mark.faults)]
)
def test_several_devices_compute_what_one_does(
    processes, devices, name, precision, steps, tolerance, tmp_path, record_property
):
    arguments = name, precision, str(steps)
    ((*alone,),) = computed(tmp_path, 1, 1, *arguments)
    for together in computed(tmp_path, processes, devices, *arguments):
        worst = largest_difference(together, alone)
        record_property("worst", worst)
        print(processes, devices, *arguments, worst)
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
    run = subprocess.run(
        [sys.executable, "-c", RESUMED, str(tmp_path)],
        env=environment(4),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stderr
    assert float(run.stdout.splitlines()[-1]) <= 1e-10
