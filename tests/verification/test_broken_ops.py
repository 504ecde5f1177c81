"""A broken op shows in its own row, and the rest stays as it was."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.core import Tracer

from jaxcv import layers, losses, ops
from jaxcv.models import activations
from jaxcv.verification.cases import all_cases
from jaxcv.verification.operators import check_case
from jaxcv.verification.precisions import Precision

CONV, BATCH_NORM = ops.conv2d, layers.batch_norm


def rows_of(op: str, mode: str = "jit", geometry: int = 0):
    """The rows of an op of one geometry in one mode, forward and gradient."""
    case = [case for case in all_cases() if case.op == op][geometry]
    precision = Precision("default", 23) if case.contracts else None
    return list(check_case(case, precision, [0], [mode]))


def padded_late(x, kernel, bias=None, stride=1, padding="same"):
    """Off by one: the odd row and column of padding on the wrong side."""
    y = CONV(x, kernel, bias, stride, padding)
    if padding != "same":
        return y
    low = [(k - 1) // 2 + 1 for k in kernel.shape[:2]]
    pads = tuple((p, k - 1 - p) for p, k in zip(low, kernel.shape[:2], strict=True))
    return CONV(x, kernel, bias, stride, pads)


def swapped_strides(x, kernel, bias=None, stride=1, padding="same"):
    steps = stride if isinstance(stride, int) else stride[::-1]
    return CONV(x, kernel, bias, steps, padding)


def without_last_row(x, kernel, bias=None, stride=1, padding="same"):
    return CONV(x, kernel, bias, stride, padding).at[:, -1].set(0)


def in_bfloat16(x, kernel, bias=0.0, stride=1, padding="same"):
    x_half, kernel_half = x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)
    return CONV(x_half, kernel_half, None, stride, padding).astype(x.dtype) + bias


def unturned_kernel(x, kernel, bias=None, stride=1, padding="same"):
    """Right forward; the gradient of x is made with the kernel as it is, not turned."""

    @jax.custom_vjp
    def f(x, kernel):
        return CONV(x, kernel, None, stride, padding)

    def backward(kept, dy):
        x, kernel = kept
        _, pull = jax.vjp(lambda x, k: CONV(x, k, None, stride, padding), x, kernel)
        _, wrong = jax.vjp(lambda x: CONV(x, kernel[::-1, ::-1], None, stride, padding), x)
        return wrong(dy)[0], pull(dy)[1]

    f.defvjp(lambda x, kernel: (f(x, kernel), (x, kernel)), backward)
    return f(x, kernel) + bias


def ties_shared(x, window=2, stride=None, padding="valid"):
    """The gradient of a maximum divided among equal elements."""
    if window != 2 or stride is not None:
        return MAX_POOL(x, window, stride, padding)
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))


MAX_POOL, AVG_POOL = ops.max_pool2d, ops.avg_pool2d


def summed_pool(x, window=2, stride=None, padding="valid"):
    size = window**2 if isinstance(window, int) else window[0] * window[1]
    return AVG_POOL(x, window, stride, padding) * size


def without_padding_counted(x, window=2, stride=None, padding="valid"):
    ones = AVG_POOL(jnp.ones_like(x), window, stride, padding)
    return AVG_POOL(x, window, stride, padding) / ones


def normalised(x, scale, bias, mean, var, training, momentum, epsilon, *, z, new):
    if not training:
        return BATCH_NORM(x, scale, bias, mean, var, False, momentum, epsilon)
    axes = tuple(range(x.ndim - 1))
    m, v = x.mean(axes), x.var(axes)
    y = z(x, m, v, epsilon)
    y = y if scale is None else y * scale + bias
    return y, *new(mean, var, m, v, momentum)


def inside(x, m, v, epsilon):
    return (x - m) / jnp.sqrt(v + epsilon)


def moved(mean, var, m, v, momentum):
    return momentum * mean + (1 - momentum) * m, momentum * var + (1 - momentum) * v


def broken_batch_norm(z=inside, new=moved):
    return functools.partial(normalised, z=z, new=new)


def unbiased(x, m, v, epsilon):
    n = x.size // x.shape[-1]
    return (x - m) / jnp.sqrt(v * n / (n - 1) + epsilon)


def outside(x, m, v, epsilon):
    return (x - m) / (jnp.sqrt(v) + epsilon)


def one_pass(x, m, v, epsilon):
    axes = tuple(range(x.ndim - 1))
    return (x - m) / jnp.sqrt(jnp.maximum((x * x).mean(axes) - m * m, 0) + epsilon)


def constant_mean(x, m, v, epsilon):
    return (x - jax.lax.stop_gradient(m)) / jnp.sqrt(v + epsilon)


def weighs_the_new(mean, var, m, v, momentum):
    return moved(m, v, mean, var, momentum)


def interleaved_groups(x, scale, bias, groups, epsilon):
    order = np.arange(x.shape[-1]).reshape(groups, -1).T.ravel()
    z = GROUP_NORM(x[..., order], None, None, groups, epsilon)[..., np.argsort(order)]
    return z * scale + bias


GROUP_NORM, CROSS_ENTROPY = layers.group_norm, losses.cross_entropy

BROKEN = {
    "a sign": (ops, "conv2d", lambda *a: -CONV(*a), "conv2d", "both"),
    "padding off by one": (ops, "conv2d", padded_late, "conv2d", "both"),
    "stride axes swapped": (ops, "conv2d", swapped_strides, "conv2d", "both"),
    "a border row dropped": (ops, "conv2d", without_last_row, "conv2d", "both"),
    "too few digits": (ops, "conv2d", in_bfloat16, "conv2d", "both"),
    "kernel not turned": (ops, "conv2d", unturned_kernel, "conv2d", "gradient"),
    "ties shared": (ops, "max_pool2d", ties_shared, "max_pool2d", "gradient"),
    "a missing 1/N": (ops, "avg_pool2d", summed_pool, "avg_pool2d", "both"),
    "padding not counted": (ops, "avg_pool2d", without_padding_counted, "avg_pool2d", "both"),
    "a sum for a mean": (
        ops, "global_avg_pool2d", lambda x: x.sum((1, 2)), "global_avg_pool2d", "both"
    ),
    "unbiased variance": (
        layers, "batch_norm", broken_batch_norm(unbiased), "batch_norm training", "both"
    ),
    "epsilon outside the root": (
        layers, "batch_norm", broken_batch_norm(outside), "batch_norm training", "both"
    ),
    "variance in one pass": (
        layers, "batch_norm", broken_batch_norm(one_pass), "batch_norm training", "both"
    ),
    "mean held constant": (
        layers, "batch_norm", broken_batch_norm(constant_mean), "batch_norm training", "gradient"
    ),
    "momentum of the new": (
        layers,
        "batch_norm",
        broken_batch_norm(new=weighs_the_new),
        "batch_norm statistics",
        "forward",
    ),
    "groups interleaved": (layers, "group_norm", interleaved_groups, "group_norm", "both"),
    "a missing 1/(1 - p)": (
        layers, "dropout", lambda x, mask, rate: jnp.where(mask, x, 0), "dropout", "both"
    ),
    "smoothing ignored": (
        losses, "cross_entropy", lambda z, y, s: CROSS_ENTROPY(z, y), "cross_entropy", "both"
    ),
    "a sum of losses": (
        losses,
        "cross_entropy",
        lambda z, y, s: len(y) * CROSS_ENTROPY(z, y, s),
        "cross_entropy",
        "both",
    ),
    "a missing half": (
        losses, "l2_penalty", lambda p: jnp.sum(p["kernel"] ** 2), "l2_penalty", "both"
    ),
    "a bias left out": (nn, "Dense", functools.partial(nn.Dense, use_bias=False), "dense", "both"),
    "softmax of the batch": (nn, "softmax", lambda z: jax.nn.softmax(z, 0), "softmax", "both"),
    "another gelu": (nn, "gelu", functools.partial(jax.nn.gelu, approximate=False), "gelu", "both"),
    "the other gelu": (activations, "gelu", jax.nn.gelu, "gelu by erf", "both"),
    "a leak": (nn, "relu", jax.nn.leaky_relu, "relu", "both"),
}  # fmt: skip


NEEDING_THE_SECOND = {
    "padding off by one",
    "kernel not turned",
    "ties shared",
    "variance in one pass",
    "smoothing ignored",
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_op_is_wrong_in_its_row(fault, monkeypatch):
    owner, name, broken, op, where = BROKEN[fault]
    monkeypatch.setattr(owner, name, broken)
    # Most show anywhere; some need a symmetric window, overlaps, an offset or smoothing.
    rows = rows_of(op, geometry=fault in NEEDING_THE_SECOND)
    forward = all(row.ok for row in rows if not row.op.endswith("gradient"))
    gradient = all(row.ok for row in rows if row.op.endswith("gradient"))
    assert (forward, gradient) == {
        "both": (False, False),
        "forward": (False, True),
        "gradient": (True, False),
    }[where]
    wrong = [row for row in rows if not row.ok]
    assert all(row.fraction > 1 and row.note for row in wrong)


@pytest.mark.parametrize(
    "op", ["conv2d", "layers.Conv", "dense", "max_pool2d", "layer_norm", "relu"]
)
def test_the_ops_beside_a_broken_one_hold(op, monkeypatch):
    monkeypatch.setattr(ops, "conv2d", lambda *a: -CONV(*a))
    assert {row.ok for row in rows_of(op, "jit+vmap")} == {op != "conv2d"}


def test_a_fault_of_compiled_programs_alone_shows_in_their_rows(monkeypatch):
    def miscompiled(x):
        return jax.nn.relu(x) + 1 if isinstance(x, Tracer) else jax.nn.relu(x)

    monkeypatch.setattr(nn, "relu", miscompiled)
    verdicts = {
        mode: all(row.ok for row in rows_of("relu", mode) if row.op == "relu")
        for mode in ("eager", "jit", "jit+vmap", "jit+scan")
    }
    assert verdicts == {"eager": True, "jit": False, "jit+vmap": False, "jit+scan": False}


def test_an_op_that_raises_is_wrong(monkeypatch):
    def refuse(x):
        raise RuntimeError("INTERNAL: no such kernel\nwith more lines")

    monkeypatch.setattr(nn, "tanh", refuse)
    for row in rows_of("tanh"):
        assert not row.ok
        assert row.note.endswith("INTERNAL: no such kernel")
