import runpy
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
SCRIPT: Any = runpy.run_path(str(ROOT / "experiments" / "abstraction_levels.py"))
SHAPE = (8, 6, 3)


@pytest.mark.parametrize("network", ["two-layer net", "three-layer ConvNet"])
def test_the_same_parameters_give_the_same_logits_and_gradients(network, rng):
    written = SCRIPT["levels"](SHAPE, jax.random.key(0))[network]
    assert list(written) == ["functions", "module", "list"]
    images = jnp.asarray(rng.normal(size=(5, *SHAPE)), jnp.float32)
    results = {}
    for level, (function, params) in written.items():
        logits, pull = jax.vjp(function, params, images)
        _, gradient = pull(jnp.ones_like(logits))
        results[level] = np.asarray(logits), np.asarray(gradient)
        assert logits.shape == (5, 10)
    bare = results["functions"]
    assert np.ptp(bare[0]) > 0.1
    for other in ("module", "list"):
        for ours, theirs in zip(results[other], bare, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_the_levels_stay_together_while_they_learn(rng):
    written = SCRIPT["levels"]((4, 4, 1), jax.random.key(1))["two-layer net"]
    images = [jnp.asarray(rng.normal(size=(6, 4, 4, 1)), jnp.float32)] * 5
    labels = [jnp.arange(6)] * 5
    curves = [SCRIPT["losses"](f, p, images, labels, 0.1) for f, p in written.values()]
    assert curves[0][-1] < curves[0][0]
    for curve in curves[1:]:
        np.testing.assert_allclose(curve, curves[0], rtol=1e-4)
