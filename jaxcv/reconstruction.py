"""What a sparse autoencoder minimises: reconstruction, weight decay and KL sparsity."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree, Real

from jaxcv.constraints import NonNegative, Range
from jaxcv.losses import Scalar, Totals, l2_penalty
from jaxcv.metrics import COST, Score
from jaxcv.ops.sums import total

PerUnit = Float[Array, " hidden"]

# Plain sums of activations are exact enough while no unit is off, or nearly always on: a sum far
# above the least number of its type, a complement far above the rounding of 1.
_LEAST_SUM, _LEAST_SHARE_OFF = 1e-30, 0.01


class _Saturation(NamedTuple):
    """Logarithms of Σ σ(z) and Σ σ(−z) over the batch, and whether plain sums would not do."""

    log_on: PerUnit
    log_off: PerUnit
    saturated: Bool[Array, ""]


def _sums_of_logarithms(logits: Float[Array, "batch hidden"]) -> tuple[PerUnit, PerUnit]:
    return (
        jax.nn.logsumexp(jax.nn.log_sigmoid(logits), axis=0),
        jax.nn.logsumexp(jax.nn.log_sigmoid(-logits), axis=0),
    )


def _summed(logits: Float[Array, "batch hidden"]) -> _Saturation:
    on = jnp.sum(jax.nn.sigmoid(logits), axis=0)
    off = logits.shape[0] - on
    saturated = jnp.any((on < _LEAST_SUM) | (off < _LEAST_SHARE_OFF * logits.shape[0]))
    # A third of the step's time is saved where the logarithms need not be taken one by one.
    log_on, log_off = jax.lax.cond(
        saturated,
        lambda logits, on, off: _sums_of_logarithms(logits),
        lambda logits, on, off: (jnp.log(on), jnp.log(off)),
        logits,
        on,
        off,
    )
    return _Saturation(log_on, log_off, saturated)


@jax.custom_vjp
def log_activation_sums(logits: Float[Array, "batch hidden"]) -> tuple[PerUnit, PerUnit]:
    """log Σ σ(z) and log Σ σ(−z) over the batch, of each unit; finite however far σ saturates.

    With p = σ(z) / Σ σ(z) and q = σ(−z) / Σ σ(−z) the gradients are p·σ(−z) and −q·σ(z). Where a
    sum could vanish in rounding, sums and shares are computed from log σ(±z).
    """
    sums = _summed(logits)
    return sums.log_on, sums.log_off


def _forward(logits: Float[Array, "batch hidden"]) -> tuple[tuple[PerUnit, PerUnit], Any]:
    sums = _summed(logits)
    return (sums.log_on, sums.log_off), (logits, sums)


def _backward(residuals: Any, upstream: tuple[PerUnit, PerUnit]) -> tuple[Array]:
    logits, sums = residuals
    dlog_on, dlog_off = upstream

    def plain(logits: Float[Array, "batch hidden"]) -> Array:
        on = jax.nn.sigmoid(logits)
        slope = dlog_on * jnp.exp(-sums.log_on) - dlog_off * jnp.exp(-sums.log_off)
        return slope * on * (1 - on)

    def from_logarithms(logits: Float[Array, "batch hidden"]) -> Array:
        p = jnp.exp(jax.nn.log_sigmoid(logits) - sums.log_on)
        q = jnp.exp(jax.nn.log_sigmoid(-logits) - sums.log_off)
        return dlog_on * p * jax.nn.sigmoid(-logits) - dlog_off * q * jax.nn.sigmoid(logits)

    return (jax.lax.cond(sums.saturated, from_logarithms, plain, logits),)


log_activation_sums.defvjp(_forward, _backward)


@runtime_checkable
class _Autoencoded(Protocol):
    """What the loss needs of an autoencoder's outputs."""

    @property
    def reconstruction(self) -> Array:
        """The images again."""
        ...

    @property
    def hidden_logits(self) -> Array:
        """The hidden units before their sigmoid."""
        ...


@dataclasses.dataclass(frozen=True)
class SparseReconstruction:
    """The cost of a sparse autoencoder (EEE443/543, assignment 3, 2019).

        J = 1/(2N) Σ ‖x − x̂‖² + decay/2 Σ w² + sparsity_weight Σ_units KL(sparsity ‖ mean)

    where w runs over both kernels, the mean is a hidden unit's mean activation over the batch, and
    KL(ρ ‖ m) = ρ log(ρ/m) + (1 − ρ) log((1 − ρ)/(1 − m)), in nats.

    Attributes:
        decay: weight of half the squared kernels, λ
        sparsity_weight: weight of the divergence from the wanted sparsity, β
        sparsity: wanted mean activation of a hidden unit, ρ
    """

    decay: NonNegative = 5e-4
    sparsity_weight: NonNegative = 0.01
    sparsity: Annotated[float, Range(0, 1, low_open=True, high_open=True)] = 0.05

    @property
    def score(self) -> Score:
        """The cost."""
        return COST

    def totals(
        self,
        outputs: _Autoencoded,
        images: Real[Array, "batch ..."],
        labels: Int[Array, " batch"],
        params: PyTree,
        mask: Bool[Array, " batch"] | None = None,
    ) -> Totals:
        """Sums over the batch, those of the activations as logarithms.

        `squared_error`; `log_on` and `log_off`, of Σ σ and Σ (1 − σ) of each hidden unit;
        `squared_weights`, half of Σ w² for each example, so that an epoch's mean is of the
        parameters at each step; and `count`.
        """
        errors = jnp.square(outputs.reconstruction - images)
        logits = outputs.hidden_logits
        if mask is None:
            count = jnp.int32(len(images))
            log_on, log_off = log_activation_sums(logits)
        else:
            count = jnp.sum(mask, dtype=jnp.int32)
            errors = jnp.where(mask.reshape(-1, *[1] * (errors.ndim - 1)), errors, 0)
            log_on, log_off = (
                jax.nn.logsumexp(jax.nn.log_sigmoid(z), axis=0, where=mask[:, None])
                for z in (logits, -logits)
            )
        return {
            "squared_error": total(errors),
            "log_on": log_on,
            "log_off": log_off,
            "squared_weights": l2_penalty(params) * count,
            "count": count,
        }

    def combine(self, one: Totals, other: Totals) -> Totals:
        """Sums of both."""
        logarithms = ("log_on", "log_off")
        return {
            name: jnp.logaddexp(value, other[name]) if name in logarithms else value + other[name]
            for name, value in one.items()
        }

    def objective(self, totals: Totals, params: PyTree) -> Scalar:
        """J of the batch."""
        count = totals["count"].astype(totals["squared_error"].dtype)
        divergence = self._divergence(totals["log_on"], totals["log_off"], jnp.log(count))
        return (
            0.5 * totals["squared_error"] / count
            + self.decay * l2_penalty(params)
            + self.sparsity_weight * jnp.sum(divergence)
        )

    def metrics(self, totals: Mapping[str, Any]) -> dict[str, float]:
        """J as `cost`, its three terms, and `activation`, the mean over units and examples."""
        count = int(totals["count"])
        log_on, log_off = (np.asarray(totals[name], np.float64) for name in ("log_on", "log_off"))
        divergence = self._divergence(log_on, log_off, np.log(count))
        terms = {
            "reconstruction": 0.5 * float(totals["squared_error"]) / count,
            "decay": self.decay * float(totals["squared_weights"]) / count,
            "sparsity": self.sparsity_weight * float(np.sum(divergence)),
        }
        activation = float(np.mean(np.exp(log_on - np.log(count))))
        return {"cost": sum(terms.values()), **terms, "activation": activation}

    def predictions(self, outputs: _Autoencoded) -> Float[Array, "batch height width channels"]:
        """The images as the network makes them again."""
        return outputs.reconstruction

    def _divergence(self, log_on: Any, log_off: Any, log_count: Any) -> Any:
        """KL(sparsity ‖ mean activation) of each unit, from the logarithms of its sums."""
        xp = np if isinstance(log_on, np.ndarray) else jnp
        wanted = xp.asarray(self.sparsity)
        return wanted * (xp.log(wanted) - log_on + log_count) + (1 - wanted) * (
            xp.log1p(-wanted) - log_off + log_count
        )
