"""How the learning rate changes over a run: frozen values, factors on an optimizer's base rate.

The numbers may be tracers, like those of the optimizers.
"""

import dataclasses
from typing import NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxcv.constraints import Fraction, NonNegative, shown
from jaxcv.errors import UserError

Number = float | Float[Array, ""]
Step = np.int32 | Int[Array, ""]


class Position(NamedTuple):
    """Where a run stands.

    Attributes:
        step: steps done
        steps_per_epoch: whole batches in an epoch
        total: steps of the whole run
    """

    step: Int[Array, ""]
    steps_per_epoch: int
    total: Int[Array, ""]


def total_steps(steps_per_epoch: int, epochs: Number) -> Int[Array, ""]:
    """Steps of a run; of a part of an epoch all that it begins.

    Example:
        >>> int(total_steps(48, 9.9))  # 475.2
        476
    """
    # float32 has 1.1 · 10 a little above 11.
    return jnp.ceil(jnp.asarray(epochs) * steps_per_epoch - 1e-3).astype(jnp.int32)


@runtime_checkable
class Schedule(Protocol):
    """How the learning rate changes over a run."""

    def factor(self, step: Step, steps_per_epoch: int, epochs: Number) -> Number:
        """What the base learning rate is multiplied with at a step (from 0)."""
        ...


@dataclasses.dataclass(frozen=True)
class Constant:
    """The base learning rate throughout."""

    def factor(self, step: Step, steps_per_epoch: int, epochs: Number) -> Number:
        """Always 1."""
        return 1.0


@dataclasses.dataclass(frozen=True)
class Piecewise:
    """Constant pieces: after `boundaries[i]` epochs the base rate times `factors[i]`.

    Attributes:
        boundaries: epochs after which the rate changes, ascending
        factors: what the base rate is multiplied with from there on

    Example:
        1e-3, then 1e-4 after 80 epochs and 1e-5 after 120:

        >>> schedule = Piecewise(boundaries=(80.0, 120.0), factors=(0.1, 0.01))
        >>> [float(schedule.factor(jnp.int32(epoch * 391), 391, 150.0)) for epoch in (79, 80)]
        [1.0, 0.10000000149011612]
    """

    boundaries: tuple[NonNegative, ...] = ()
    factors: tuple[NonNegative, ...] = ()

    def __post_init__(self):
        if len(self.boundaries) != len(self.factors):
            raise UserError(
                f"--factors must be as many as --boundaries ({len(self.boundaries)}), "
                f"not {len(self.factors)}"
            )
        # While a program is traced the numbers are placeholders or tracers.
        plain = all(isinstance(boundary, int | float) for boundary in self.boundaries)
        if plain and list(self.boundaries) != sorted(self.boundaries):
            raise UserError(f"--boundaries must ascend, not {shown(self.boundaries)}")

    def factor(self, step: Step, steps_per_epoch: int, epochs: Number) -> Number:
        """The factor of the last boundary that the step has reached; 1 before the first."""
        factor: Number = jnp.float32(1.0)
        for boundary, value in zip(self.boundaries, self.factors, strict=True):
            # In whole steps: a boundary of 80 epochs is exactly the first step of the 81st.
            reached = step >= jnp.round(jnp.asarray(boundary) * steps_per_epoch)
            factor = jnp.where(reached, value, factor)
        return factor


@dataclasses.dataclass(frozen=True)
class WarmupCosine:
    """Linear warm-up to the base rate, then half a cosine down (Loshchilov & Hutter 2017).

    Attributes:
        warmup_epochs: epochs of the linear rise from nothing
        final_factor: share of the base rate at the end
    """

    warmup_epochs: NonNegative = 0.0
    final_factor: NonNegative = 0.0

    def factor(self, step: Step, steps_per_epoch: int, epochs: Number) -> Number:
        """(t + 1)/w during the warm-up of w steps, then between 1 and `final_factor`."""
        warmup = jnp.asarray(self.warmup_epochs) * steps_per_epoch
        rest = jnp.maximum(jnp.asarray(epochs) * steps_per_epoch - warmup, 1.0)
        fallen = jnp.clip((step - warmup) / rest, 0.0, 1.0)
        cosine = self.final_factor + (1 - self.final_factor) * 0.5 * (1 + jnp.cos(jnp.pi * fallen))
        # A warm-up that ends within a step does not overshoot in it.
        rising = jnp.minimum((step + 1) / jnp.maximum(warmup, 1.0), 1.0)
        return jnp.where(step < warmup, rising, cosine)


@dataclasses.dataclass(frozen=True)
class WarmupLinear:
    """Linear from a share of the base rate up to it, then linearly down, by shares of all steps.

    Attributes:
        warmup: share of the steps that the rise takes
        initial_factor: share of the base rate at the first step
        final_factor: share of the base rate that the step after the last would have

    Example:
        >>> schedule = WarmupLinear(warmup=0.2, initial_factor=0.5)
        >>> [round(float(schedule.factor(jnp.int32(step), 5, 2)), 3) for step in range(4)]
        [0.5, 0.75, 1.0, 0.875]
    """

    warmup: Fraction = 0.0
    initial_factor: NonNegative = 0.0
    final_factor: NonNegative = 0.0

    def factor(self, step: Step, steps_per_epoch: int, epochs: Number) -> Number:
        """Between the corners at step 0, at the end of the warm-up (in whole steps) and of all."""
        total = total_steps(steps_per_epoch, epochs)
        peak = jnp.floor(jnp.asarray(self.warmup) * total)
        risen = step / jnp.maximum(peak, 1.0)
        fallen = jnp.clip((step - peak) / jnp.maximum(total - peak, 1.0), 0.0, 1.0)
        rising = self.initial_factor + (1 - self.initial_factor) * risen
        return jnp.where(step < peak, rising, 1 - (1 - self.final_factor) * fallen)
