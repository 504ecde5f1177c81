"""Why no bias before batch normalisation, and no scale before a linear layer?

python experiments/redundant_parameters.py

A bias in front of a batch normalisation is subtracted again with the mean: the outputs do not
change, and the gradient of the loss with respect to it is zero. A positive scale γ passes through
the ReLU, relu(γz) = γ·relu(z), into the kernel of the next layer: γ and kernel/γ give the same
outputs. What does change them: a bias where nothing normalises, and a negative γ, which the ReLU
does not let pass.

All is computed in float64. Nothing is trained; --epochs changes nothing. The picture has the
largest change of an output, on a logarithmic axis.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxcv import layers, ops
from jaxcv.plots.style import BLUE, ORANGE, drawing_style, new_figure
from jaxcv.questions import Flags, ask

CHANNELS = 16


def network(params: dict, images, normalised: bool = True):
    """Convolution with a bias, batch normalisation with a scale, ReLU, dense layer."""
    x = ops.conv2d(images, params["kernel"], params["bias"])
    if normalised:
        zeros, ones = jnp.zeros(CHANNELS), jnp.ones(CHANNELS)
        x, _, _ = layers.batch_norm(x, params["scale"], params["offset"], zeros, ones)
    return jax.nn.relu(x).mean(axis=(1, 2)) @ params["dense"]


def answer(flags: Flags) -> None:
    data = flags.dataset()
    images = jnp.asarray(data.images[data.train[:64]], jnp.float64) / 255
    labels = jnp.asarray(data.labels[data.train[:64]])
    rng = np.random.default_rng(flags.seed)
    window = (3, 3, images.shape[-1], CHANNELS)

    def normal(*shape: int):
        return jnp.asarray(rng.normal(size=shape), jnp.float64)

    params = {
        "kernel": normal(*window) / 5,
        "bias": normal(CHANNELS),
        "scale": 0.5 + jnp.abs(normal(CHANNELS)),
        "offset": jnp.zeros(CHANNELS),
        "dense": normal(CHANNELS, data.num_classes),
    }
    factor = jnp.asarray(rng.uniform(0.5, 2.0, CHANNELS), jnp.float64)
    another_bias = params | {"bias": params["bias"] + normal(CHANNELS)}
    moved = params | {
        "scale": params["scale"] * factor,
        "dense": params["dense"] / factor[:, None],
    }
    negative = params | {"scale": -params["scale"], "dense": -params["dense"]}

    def change(other: dict, normalised: bool = True) -> float:
        before, after = (network(p, images, normalised) for p in (params, other))
        return float(jnp.abs(after - before).max())

    changes = {
        "another bias before the normalisation": change(another_bias),
        "scale moved into the dense kernel": change(moved),
        "another bias, nothing normalises": change(another_bias, normalised=False),
        "signs of scale and dense kernel turned": change(negative),
    }
    for name, value in changes.items():
        print(f"{name:<40}  outputs change by at most {value:.1e}")

    def loss(params: dict):
        chosen = jax.nn.log_softmax(network(params, images))[jnp.arange(len(labels)), labels]
        return -chosen.mean()

    gradients = jax.grad(loss)(params)
    for name in ("bias", "kernel", "scale"):
        print(f"gradient of the {name:<6}  at most {float(jnp.abs(gradients[name]).max()):.1e}")

    with drawing_style():
        figure = new_figure(7.2, 2.2, layout="constrained")
        ax = figure.subplots()
        least = np.finfo(np.float64).eps / 10
        colours = [BLUE, BLUE, ORANGE, ORANGE]
        ax.barh(list(changes), [max(v, least) for v in changes.values()], color=colours, left=least)
        ax.set(xscale="log", xlim=(least, None), xlabel="largest change of an output")
        ax.set_axisbelow(True)
        ax.grid(axis="y", visible=False)
        ax.invert_yaxis()
        flags.show(figure)


if __name__ == "__main__":
    with jax.enable_x64(True):
        ask(answer, epochs=1)
