"""Activation functions and initialisers by name, for fields that flags and JSON can set."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

from flax import linen as nn
from jaxtyping import Array, Float

Activation = Literal["relu", "tanh", "none"]
Initializer = Literal["glorot_uniform", "he_normal", "he_uniform"]

ACTIVATIONS: Mapping[str, Callable[[Float[Array, "..."]], Float[Array, "..."]]] = MappingProxyType(
    {"relu": nn.relu, "tanh": nn.tanh, "none": lambda x: x}
)

INITIALIZERS: Mapping[str, nn.initializers.Initializer] = MappingProxyType(
    {
        # Glorot & Bengio 2010, equation 16
        "glorot_uniform": nn.initializers.glorot_uniform(),
        # He et al. 2015, "Delving deep into rectifiers", section 2.2
        "he_normal": nn.initializers.he_normal(),
        "he_uniform": nn.initializers.he_uniform(),
    }
)
