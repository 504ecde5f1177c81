"""Programs that a release of jaxlib has computed wrongly, or died of.

Each runs in a process of its own, since a fault may end it or make it wait for ever:
`python -m jaxcv.verification.probes NAME` prints a row as JSON. None asks for a version.
"""

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxcv.verification.float64 import evaluate
from jaxcv.verification.rows import Row, compare, refused
from jaxcv.verification.running_error import Bounded

TIMEOUT = 60.0
"""Seconds until a probe counts as hanging; here one takes three."""

# Rows from which matrix products of a batch were cut into blocks, and another for good measure.
_MANY = 32_769


class Probe(NamedTuple):
    """What is computed, how, and the function that returns what came out and what should."""

    what: str
    mode: str
    run: Callable[[], tuple[np.ndarray, Bounded]]
    deep: bool = False


def _rows_times_matrix(rows: int) -> tuple[np.ndarray, Bounded]:
    """The sum of squares of each row times an identity: jax issue 39103, jaxlib 0.10.2 on CPU."""
    # Whole numbers that bfloat16 holds, with a prime period: a block out of place shows.
    x = np.zeros((rows, 3), np.float32)
    x[:, 0] = np.arange(rows) % 251
    matrix = jnp.eye(3)
    program = jax.jit(jax.vmap(lambda row: jnp.sum((matrix @ row) ** 2)))
    return np.asarray(program(x)), Bounded(np.sum(x.astype(np.float64) ** 2, axis=1))


def _row_gradients(rows: int) -> tuple[np.ndarray, Bounded]:
    """The same program's gradient: 2 x."""
    x = np.random.default_rng(0).integers(-100, 101, (rows, 3)).astype(np.float32)
    matrix = jnp.eye(3)
    program = jax.jit(jax.vmap(jax.grad(lambda row: jnp.sum((matrix @ row) ** 2))))
    return np.asarray(program(x)), Bounded(2.0 * x)


def _product_of_rank_eight() -> tuple[np.ndarray, Bounded]:
    """A broadcast product, summed over one axis: jax issue 39257, jaxlib 0.10.2 and 0.11.0."""
    rng = np.random.default_rng(0)
    x = rng.integers(-3, 4, (10, 4, 6)).astype(np.float32)
    y = rng.integers(-3, 4, (10, 4, 6, 9, 9, 9, 9, 9)).astype(np.float32)
    program = jax.jit(lambda x, y: jnp.sum(x[..., None, None, None, None, None] * y, axis=2))
    return np.asarray(program(x, y)), Bounded(np.einsum("abc,abcdefgh->abdefgh", x, y))


def _product_of_rank_seven() -> tuple[np.ndarray, Bounded]:
    """The same with an axis of length one: jax issue 40412, jaxlib 0.10.2."""
    shape = (3, 1, 2, 2, 8, 8, 8)
    x, y = np.random.default_rng(0).integers(-3, 4, (2, *shape)).astype(np.float32)
    program = jax.jit(lambda x, y: jnp.sum(x * y, axis=3))
    return np.asarray(program(x, y)), Bounded(np.sum(x * y, axis=3))


def _attention() -> tuple[np.ndarray, Bounded]:
    """Gradient of a Linen classifier over sets: jax issue 39264, jaxlib 0.10.0 and 0.10.1.

    Ten elements are padded, masked, attended to and averaged. The gradient is held to 1e-4 of its
    largest element: this probe is for programs that end.
    """

    class Sets(nn.Module):
        @nn.compact
        def __call__(self, x, weights):
            role = jnp.linspace(0.0, 1.0, x.shape[1])[None, :, None]
            x = jnp.concatenate([x, jnp.broadcast_to(role, (*x.shape[:2], 1))], axis=-1)
            x = nn.Dense(128)(x)
            x = nn.LayerNorm()(x + nn.MultiHeadDotProductAttention(num_heads=4)(x, x))
            pooled = jnp.sum(x * weights[..., None], axis=1) / jnp.sum(weights, 1, keepdims=True)
            return nn.Dense(8)(nn.relu(pooled))

    rng = np.random.default_rng(0)
    x = rng.standard_normal((512, 10, 18)).astype(np.float32)
    weights = rng.uniform(0.5, 1.5, (512, 10)).astype(np.float32)
    labels = rng.integers(0, 8, 512)
    model = Sets()
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), x, weights))
    params = jax.tree.map(
        lambda leaf: rng.standard_normal(leaf.shape).astype(np.float32) / 10, shapes
    )

    def loss(params):
        outputs: Any = model.apply(params, x, weights)
        logits = nn.log_softmax(outputs)
        return -jnp.mean(jnp.sum(logits * jax.nn.one_hot(labels, 8), axis=-1))

    with jax.default_matmul_precision("highest"):
        program = jax.value_and_grad(loss)
        actual = np.concatenate(
            [np.ravel(leaf) for leaf in jax.tree.leaves(jax.jit(program)(params))]
        )
        exact = evaluate(jax.make_jaxpr(program)(params), jax.tree.leaves(params))
    expected = np.concatenate([np.ravel(leaf) for leaf in exact])
    return actual, Bounded(expected, 1e-4 * np.max(np.abs(expected)))


PROBES: Mapping[str, Probe] = MappingProxyType(
    {
        "rows": Probe(
            f"sum of squares of {_MANY} rows times a matrix",
            "jit+vmap",
            lambda: _rows_times_matrix(_MANY),
        ),
        "gradients": Probe(
            f"gradient of that over {_MANY} rows", "jit+vmap", lambda: _row_gradients(_MANY), True
        ),
        "rank8": Probe("sum of a product of rank 8", "jit", _product_of_rank_eight),
        "rank7": Probe("sum of a product of rank 7", "jit", _product_of_rank_seven),
        "attention": Probe("value_and_grad of attention over sets", "jit", _attention),
        **{
            f"rows{rows}": Probe(
                f"sum of squares of {rows} rows times a matrix",
                "jit+vmap",
                lambda rows=rows: _rows_times_matrix(rows),
                True,
            )
            for rows in (1, 255, 16_385, 65_537, 1_000_003)
        },
    }
)


def measured(probe: Probe) -> Row:
    """Runs a probe in this process."""
    row = Row(probe.what, probe.mode, "default", 0.0, 0.0)
    try:
        ulp, fraction = compare(*probe.run())
    except Exception as error:
        return refused(row, error)
    return row._replace(ulp=ulp, fraction=fraction)


def probed(name: str) -> Row:
    """Runs a probe in a child process; its death, its silence and its delay are rows as well."""
    probe = PROBES[name]
    wrong = Row(probe.what, probe.mode, "default", math.inf, math.inf)
    command = [sys.executable, "-m", "jaxcv.verification.probes", name]
    return row_of_child(command, wrong, TIMEOUT)


def row_of_child(command: list[str], wrong: Row, timeout: float) -> Row:
    """The row that a child process prints; `wrong` with a note where it prints none."""
    try:
        done = subprocess.run(
            command,
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return wrong._replace(note=f"no answer within {timeout:g} s")
    if done.returncode < 0:
        return wrong._replace(note=f"the process died of {signal.Signals(-done.returncode).name}")
    try:
        told = json.loads(done.stdout.splitlines()[-1])
        return wrong._replace(**{name: told[name] for name in ("ulp", "fraction", "note")})
    except (IndexError, KeyError, TypeError, ValueError):
        last = (done.stderr.strip().splitlines() or ["without a word"])[-1]
        return wrong._replace(note=f"the process ended with status {done.returncode}: {last}")


def child_environment() -> dict[str, str]:
    """The environment of this process, for a child that shares its device and compiles all anew."""
    package = str(Path(__file__).parents[2])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "JAX_ENABLE_COMPILATION_CACHE": "0",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }


if __name__ == "__main__":
    # Infinity is no JSON, but Python's reader takes it.
    print(json.dumps(measured(PROBES[sys.argv[1]])._asdict()))
