"""What a network computes on the way to its logits."""

from collections.abc import Mapping
from typing import Any

from flax import linen as nn
from jaxtyping import Array, Float, PyTree


def intermediates(
    model: nn.Module,
    variables: PyTree,
    images: Float[Array, "batch height width channels"],
) -> dict[str, Array]:
    """Named activations of a network in evaluation mode, in the order computed, its outputs last.

    Args:
        model: any network of `jaxcv.models`.
        variables: `{"params": ...}`, with `batch_stats` where the network has them.
        images: a normalised batch, as training sees it.

    Returns:
        Arrays by name: "conv1", "pool1", ..., "logits"; names of nested modules are joined
        with "/". A network with several outputs has them under their own names.
    """
    outputs, sown = model.apply(variables, images, train=False, mutable=["intermediates"])

    def flat(tree: Mapping[str, Any], prefix: str) -> dict[str, Array]:
        named: dict[str, Array] = {}
        for name, value in tree.items():
            if isinstance(value, Mapping):
                named |= flat(value, f"{prefix}{name}/")
            else:
                named[f"{prefix}{name}"] = value[0]
        return named

    named = outputs._asdict() if hasattr(outputs, "_asdict") else {"logits": outputs}
    return flat(sown.get("intermediates", {}) or {}, "") | named
