"""The train chunk of every experiment is a plain program for accelerators, whatever the host is."""

import collections
import dataclasses
import re
import runpy
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from jax import export

from jaxcv import Experiment, device_data, training
from jaxcv.experiment import DataDependent, split

ROOT = Path(__file__).parents[1]
# They compute without training, with pieces of the networks of the others, or what they are told.
NO_EXPERIMENT = {
    "abstraction_levels",
    "cifar10_94_sweep",  # that of cifar10_94
    "conv_is_dense",
    "convolution_as_filter",
    "redundant_parameters",
    "seeds",
}
SCRIPTS = sorted(p for p in (ROOT / "experiments").glob("*.py") if p.stem not in NO_EXPERIMENT)
STEPS = 2

# The order of axes that XLA:CPU runs fast in a loop; autodiff's filter gradients have others.
FAST = "[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]"

# What XLA implements itself on every platform.
PORTABLE_CALLS = {"Sharding", "SPMDFullToShardShape", "SPMDShardToFullShape"}

# All of them in `make test-all`, one in `make test`.
every = pytest.mark.every_script
parametrized = pytest.mark.parametrize(
    "script",
    [pytest.param(p, id=p.stem, marks=() if p.stem == "cnn" else every) for p in SCRIPTS],
)


def experiments_of(script: Path) -> list[Experiment]:
    """The values that a script trains, whatever holds them."""
    found: dict[str, Experiment] = {}

    def look(value: Any) -> None:
        if isinstance(value, Experiment):
            found[repr(value)] = value
        elif isinstance(value, list | tuple):
            for part in value:
                look(part)
        elif isinstance(value, dict):
            look(list(value.values()))
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            look([getattr(value, field.name) for field in dataclasses.fields(value)])

    look([v for name, v in runpy.run_path(str(script)).items() if not name.startswith("__")])
    assert found, f"{script} trains nothing that can be found"
    return list(found.values())


def image_shape(experiment: Experiment) -> tuple[int, int, int]:
    """CIFAR-10's, but for what trains on patches."""
    return (16, 16, 1) if experiment.data == "patches" else (32, 32, 3)


def lowered(experiment: Experiment, platform: str) -> str:
    """The module of the experiment's train chunk."""
    static, numbers = split(experiment)
    hyper = device_data.arrays(numbers, experiment)
    shape = image_shape(experiment)
    state = jax.eval_shape(lambda: training.initial_state(static, jax.random.key(0), hyper, shape))
    dtype = device_data.parameter_dtype(experiment)
    batch = experiment.batch_size or 64
    array: Any = jax.ShapeDtypeStruct
    data = device_data.DeviceData(
        array((STEPS * batch, *shape), np.uint8),
        array((STEPS * batch,), np.int32),
        array(shape, dtype),
        array(shape, dtype),
    )
    order, limit = array((STEPS, batch), np.int32), array((), np.int32)
    program = export.export(training.train_chunk, platforms=[platform])
    return program(static, state, data, order, hyper, limit).mlir_module()


def forward(experiment: Experiment, platform: str) -> str:
    """The module of the network alone, in evaluation mode."""
    images = jax.ShapeDtypeStruct((4, *image_shape(experiment)), np.float32)
    variables = jax.eval_shape(experiment.model.init, jax.random.key(0), images)
    program = export.export(jax.jit(experiment.model.apply), platforms=[platform])
    return program(variables, images).mlir_module()


def operations(module: str) -> collections.Counter[str]:
    """How often a module names each operation."""
    return collections.Counter(re.findall(r"\b(?:stablehlo|chlo)\.(\w+)", module))


def calls(module: str) -> set[str]:
    """The custom calls of a module."""
    return set(re.findall(r"custom_call\s*@([\w.$]+)", module))


def max_pools(module: str) -> int:
    """How many windows' maxima a module takes."""
    regions = re.findall(r"stablehlo\.reduce_window.*?stablehlo\.return", module, re.DOTALL)
    return sum("stablehlo.maximum" in region for region in regions)


def orders(module: str) -> set[str]:
    """The orders of the axes of the convolutions."""
    return set(re.findall(r"dim_numbers = (\[.*?\]x\[.*?\]->\[.*?\])", module))


@parametrized
def test_the_choice_follows_the_platform_that_is_lowered_for(script):
    for experiment in experiments_of(script):
        network = forward(experiment, "cuda")
        convolutions, pools = operations(network)["convolution"], max_pools(network)
        for platform in ("cuda", "tpu"):
            module = lowered(experiment, platform)
            found = operations(module)
            assert calls(module) <= PORTABLE_CALLS
            # The network, each kernel's gradient and each input's, of which the first may be left
            # in for the compiler to drop: autodiff's, one plain convolution each. A frozen layer
            # stands before all, and has the network's alone.
            extra = found["convolution"] - 3 * convolutions
            frozen = isinstance(experiment.model, DataDependent)
            assert extra in (((-2,) if frozen else (-1, 0)) if convolutions else (0,))
            assert found["select_and_scatter"] == pools
            assert found["while"] >= 1
            if convolutions:
                assert orders(module) != {FAST}
        module = lowered(experiment, "cpu")
        assert operations(module)["select_and_scatter"] == 0
        assert orders(module) <= {FAST}


def test_the_network_of_the_first_script_tells_the_forms_apart():
    (experiment,) = experiments_of(ROOT / "experiments" / "cnn.py")
    network = forward(experiment, "cuda")
    assert (operations(network)["convolution"], max_pools(network)) == (2, 2)
