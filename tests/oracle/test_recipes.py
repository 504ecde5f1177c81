"""The recipes of the speed run, whole, against PyTorch's optimizers: 13 steps in float64."""

import dataclasses
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from jaxcv import models
from jaxcv.programs import prepare
from tests import tiny
from tests.oracle import torch_layers as theirs
from tests.oracle.test_networks import Weights, speedrun, tensors

torch, F = theirs.torch, theirs.F
pytestmark = pytest.mark.oracle

SCRIPT = Path(__file__).parents[2] / "experiments" / "cifar10_94.py"
BATCH, PER_EPOCH, EPOCHS, STEPS = 12, 3, 4.3, 13
# The schedule's factor of each step is a number of float32.
ROUNDINGS = STEPS * 2.0**-24
FROZEN_AFTER = 3 * PER_EPOCH  # of 13 steps: the bias of the whitening layer stands still in the end

Groups = dict[str, list[Any]]


def grouped(params: dict) -> Groups:
    """Whitening bias, other biases, convolutions, head."""
    return {
        "whitening": [params["Whitening_0"]["bias"]],
        "bias": [params[name]["bias"] for name in params if name.startswith("BatchNorm")],
        "convolution": [params[name]["kernel"] for name in params if name.startswith("Conv")],
        "head": [params["Dense_0"]["kernel"]],
    }


def nesterov(groups: list[tuple[list, float, float]]):
    """PyTorch's, of (parameters, rate, rate × decay)."""
    return torch.optim.SGD(
        [{"params": p, "lr": rate, "weight_decay": decay / rate} for p, rate, decay in groups],
        lr=1.0,
        momentum=0.85,
        nesterov=True,
    )


def sgd_recipe(groups: Groups, average: Callable[[float], None]) -> Iterator[None]:
    """Nesterov's momentum and lookahead: a step after each `next`."""
    unit = 1024 * (1 + 1 / (1 - 0.85))
    rate, decay = 11.5 / unit, 0.0153 * 1024 / unit
    slow = [*groups["whitening"], *groups["convolution"], *groups["head"]]
    optimizer = nesterov([(slow, rate, decay), (groups["bias"], 64 * rate, decay)])
    bases = [group["lr"] for group in optimizer.param_groups]
    corners = [0, int(0.23 * STEPS), STEPS]
    for step in range(STEPS):
        factor = np.interp(step, corners, [0.2, 1.0, 0.07])
        for group, base in zip(optimizer.param_groups, bases, strict=True):
            group["lr"] = base * factor
        yield
        if step >= FROZEN_AFTER:
            groups["whitening"][0].grad = None
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if (step + 1) % 5 == 0:
            average(0.95**5 * ((step + 1) / STEPS) ** 3)
    average(1.0)


def muon_recipe(groups: Groups, average: Callable[[float], None]) -> Iterator[None]:
    """Muon for the convolutions, with Optax's bias-corrected momentum, and Nesterov's."""
    decay = 2e-6 * 2000
    optimizer = nesterov([
        (groups["whitening"], 0.053, decay),
        (groups["bias"], 0.053, decay),
        (groups["head"], 0.67, decay),
    ])  # fmt: skip
    bases = [group["lr"] for group in optimizer.param_groups]
    momenta = [torch.zeros_like(kernel) for kernel in groups["convolution"]]
    beta = 0.6
    for step in range(STEPS):
        left = 1 - step / STEPS
        factors = (max(1 - step / FROZEN_AFTER, 0.0), left, left)
        for group, base, factor in zip(optimizer.param_groups, bases, factors, strict=True):
            group["lr"] = base * factor
        yield
        if step >= FROZEN_AFTER:
            groups["whitening"][0].grad = None
        optimizer.step()
        with torch.no_grad():
            for kernel, momentum in zip(groups["convolution"], momenta, strict=True):
                momentum.mul_(beta).add_(kernel.grad, alpha=1 - beta)
                corrected = momentum / (1 - beta ** (step + 2))
                ahead = beta * corrected + (1 - beta) * kernel.grad / (1 - beta ** (step + 1))
                kernel.mul_(kernel.shape[-1] ** 0.5 / kernel.norm())
                kernel.sub_(orthogonal(ahead), alpha=0.24 * left)
        for kernel in groups["convolution"]:
            kernel.grad = None
        optimizer.zero_grad(set_to_none=True)


def orthogonal(x):
    """Three of Newton and Schulz's steps on [out, in · rows · columns], kernels being HWIO."""
    matrix = x.permute(3, 0, 1, 2).reshape(x.shape[-1], -1)
    matrix = matrix / (matrix.norm() + 1e-8)
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    for _ in range(3):
        square = wide @ wide.T
        wide = 3.4445 * wide + (-4.7750 * square + 2.0315 * square @ square) @ wide
    matrix = wide if matrix.shape[0] <= matrix.shape[1] else wide.T
    return matrix.reshape(x.shape[-1], *x.shape[:3]).permute(1, 2, 3, 0)


RECIPES = {"sgd": (sgd_recipe, 1 / 9), "muon": (muon_recipe, 1 / 256)}


@pytest.mark.parametrize("version", RECIPES)
def test_the_whole_recipe(version):
    recipe, scale = RECIPES[version]
    whole = runpy.run_path(str(SCRIPT))["choice"].experiments[version]
    model = models.Speedrun((5, 6), whole.model.logit_scale, whole.model.unit_head, num_classes=4)
    # What is random is tested elsewhere; the small network's last pooling is the same.
    experiment = dataclasses.replace(
        whole, model=model, augmentation=(), batch_size=BATCH, epochs=EPOCHS, precision="float64"
    )
    dataset = tiny.dataset(train=PER_EPOCH * BATCH + 1, shape=(9, 8, 3))
    with jax.enable_x64(True):
        program = prepare(experiment, dataset)
        assert program.total_steps(EPOCHS) == STEPS
        state = program.initial_state(3)
        params = tensors(jax.device_get(state.params), True)
        stats = tensors(jax.device_get(state.batch_stats), False)
        slow = jax.tree.map(lambda t: t.detach().clone(), (params, stats))

        def average(keep: float) -> None:
            with torch.no_grad():
                for s, x in zip(
                    jax.tree.leaves(slow), jax.tree.leaves((params, stats)), strict=True
                ):
                    s.lerp_(x, 1 - keep)
                    x.copy_(s)

        def images_of(index: np.ndarray):
            pixels = np.asarray(dataset.images[index], np.float64)
            return torch.tensor(pixels * np.asarray(program.data.multiplier) - program.data.offset)

        going = recipe(grouped(params), average)
        for step in range(STEPS):
            next(going)
            epoch, place = divmod(step, PER_EPOCH)
            order = program.order(state, epoch)
            index = np.asarray(order)[place]
            weights = Weights(params, stats, training=True)
            logits = speedrun(weights, images_of(index), scale)
            labels = torch.tensor(dataset.labels[index].astype(np.int64))
            loss = F.cross_entropy(logits, labels, label_smoothing=0.2, reduction="sum")
            loss.backward()
            with torch.no_grad():
                for name, moved in weights.moved.items():
                    for kind, value in moved.items():
                        stats[name][kind].copy_(value)
            before = 0.0 if place == 0 else float(state.totals["loss"])
            state = program.advance(state, order, jax.device_put(np.int32(1)))
            ours = float(state.totals["loss"]) - before
            assert ours == pytest.approx(float(loss.detach()), rel=ROUNDINGS), step
        with pytest.raises(StopIteration):
            next(going)
        found = jax.tree.map(lambda t: t.detach().numpy(), (params, stats))
        ours = jax.device_get((state.params, state.batch_stats))
        assert jax.tree.structure(ours) == jax.tree.structure(found)
        for mine, their in zip(jax.tree.leaves(ours), jax.tree.leaves(found), strict=True):
            np.testing.assert_allclose(mine, their, rtol=0, atol=ROUNDINGS * np.abs(their).max())
