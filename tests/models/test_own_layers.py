"""Networks normalise and drop with `jaxcv.layers` alone: what is tested is what trains."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

from jaxcv import ops
from jaxcv.models import MODELS

FILES = sorted((Path(__file__).parents[2] / "jaxcv" / "models").glob("*.py"))
FOREIGN = {"flax.linen.normalization", "flax.linen.stochastic"}


def foreign_names() -> set[str]:
    """All that Flax offers for normalisation and dropout, by name."""
    offered = (getattr(nn, name) for name in dir(nn))
    return {
        thing.__name__
        for thing in offered
        if isinstance(thing, type) and thing.__module__ in FOREIGN
    }


def brought_in(source: str) -> set[str]:
    """Names of Flax's own layers that a file mentions, however it came by Flax."""
    tree = ast.parse(source)
    # What Flax or a part of it is called in this file.
    called = {"flax"}
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            called |= {a.asname for a in node.names if a.asname and a.name.startswith("flax")}
            found |= FOREIGN & {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("flax"):
            called |= {a.asname or a.name for a in node.names}
            found |= foreign_names() & {a.name for a in node.names}
            found |= FOREIGN & {node.module or "", *(f"{node.module}.{a.name}" for a in node.names)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in foreign_names():
            root = node.value
            while isinstance(root, ast.Attribute):
                root = root.value
            if isinstance(root, ast.Name) and root.id in called:
                found.add(node.attr)
    return found


def test_what_flax_offers_is_known():
    assert {"BatchNorm", "GroupNorm", "LayerNorm", "InstanceNorm", "Dropout"} <= foreign_names()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_no_file_mentions_flaxs_own(file: Path):
    assert not brought_in(file.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "source",
    [
        "from flax import linen as nn\nnn.BatchNorm()",
        "import flax.linen as nn\nnn.Dropout(0.5)",
        "import flax\nflax.linen.LayerNorm()",
        "from flax.linen import GroupNorm as Fine",
        "from flax.linen.normalization import *",
        "from flax.linen import normalization",
        "import flax.linen.stochastic",
    ],
)
def test_a_mention_is_found(source: str):
    assert brought_in(source)


@pytest.mark.parametrize(
    "source",
    [
        "from jaxcv.layers import BatchNorm\nBatchNorm()",
        "from jaxcv import layers\nlayers.Dropout(0.5)",
        "from flax import linen as nn\nnn.Dense(3)",
    ],
)
def test_what_is_ours_is_not(source: str):
    assert not brought_in(source)


def modules_used(model: nn.Module) -> list[nn.Module]:
    """Every module that a network calls while it trains."""
    seen = []

    def note(call, arguments, options, context):
        seen.append(context.module)
        return call(*arguments, **options)

    def train(images):
        keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
        with nn.intercept_methods(note):
            return model.init(keys, images, train=True)

    jax.eval_shape(train, jnp.zeros((2, 16, 16, 3)))
    return seen


@pytest.mark.parametrize("name", MODELS)
def test_no_network_calls_flaxs_own(name: str):
    used = modules_used(MODELS[name]())
    assert used
    assert not {type(module) for module in used if type(module).__module__ in FOREIGN}


@pytest.mark.parametrize("name", MODELS)
def test_networks_compute_with_our_products(name: str):
    used = modules_used(MODELS[name]())
    dense = [module for module in used if isinstance(module, nn.Dense)]
    convolutions = [module for module in used if isinstance(module, nn.Conv)]
    assert dense
    assert all(module.dot_general is ops.dot_general for module in dense)
    assert all(module.conv_general_dilated is ops.conv_general_dilated for module in convolutions)


def multiplied(jaxpr: Any) -> Iterator[set[jnp.dtype]]:
    """The types that each product and each convolution of a program multiplies."""
    for equation in jaxpr.eqns:
        if equation.primitive.name in ("dot_general", "conv_general_dilated"):
            yield {operand.aval.dtype for operand in equation.invars}
        for value in jax.tree.leaves(equation.params, is_leaf=lambda v: hasattr(v, "eqns")):
            if hasattr(value, "eqns"):
                yield from multiplied(value)


@pytest.mark.parametrize("name", MODELS)
def test_networks_multiply_16_bits_under_bfloat16(name: str):
    """In training, on accelerators: no layer widens what the next one multiplies."""
    model, images = MODELS[name](), jnp.zeros((2, 16, 16, 3))
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    params = jax.tree.map(lambda x: jnp.zeros(x.shape, jnp.bfloat16), variables["params"])
    rest = {k: v for k, v in variables.items() if k != "params"}

    def outputs(params, rest):
        found, _ = model.apply(
            {"params": params, **rest},
            images.astype(jnp.bfloat16),
            train=True,
            rngs={"dropout": jax.random.key(0)},
            mutable=["batch_stats"],
        )
        return found

    exported = jax.jit(outputs).trace(params, rest)
    types = list(multiplied(exported.jaxpr.jaxpr))
    assert types
    assert all(found == {jnp.dtype(jnp.bfloat16)} for found in types)


def test_a_call_is_found():
    class Foreign(nn.Module):
        @nn.compact
        def __call__(self, images, train):
            return nn.BatchNorm(use_running_average=not train)(images)

    assert nn.BatchNorm in map(type, modules_used(Foreign()))
