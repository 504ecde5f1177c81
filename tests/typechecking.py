"""How the annotations of jaxcv are checked while testing."""

import numbers
from typing import Union

import jax
from beartype import BeartypeConf, FrozenDict, beartype

# An annotation `float` stands for any number (PEP 484): also for the array or the tracer that an
# experiment's number becomes in a compiled program, and for its placeholder in the static half.
checked = beartype(
    conf=BeartypeConf(
        hint_overrides=FrozenDict(
            {float: Union[numbers.Real, jax.Array, "jaxcv.constraints.Traced"]}  # pyright: ignore
        )
    )
)
