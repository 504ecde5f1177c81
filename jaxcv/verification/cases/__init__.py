"""What `jaxcv verify` knows of each op: inputs, expected outputs, bounds."""

from jaxcv.verification.cases import classification, linear, normalization, pointwise, pooling
from jaxcv.verification.cases.case import Case, Example

__all__ = ["Case", "Example", "all_cases"]


def all_cases(deep: bool = False) -> list[Case]:
    """Every case of every op, those for `--deep` only if asked for."""
    found = [
        case
        for module in (linear, pooling, pointwise, classification, normalization)
        for case in module.cases()
    ]
    return [case for case in found if deep or not case.deep]
