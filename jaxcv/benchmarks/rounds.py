"""In which order workers run, and which of their figures are compared: neighbours in time."""

import statistics
from collections.abc import Mapping, Sequence


def turns(reference: str, others: Sequence[str], number: int) -> list[str]:
    """The order of one round: each of the others runs next to the reference.

    reference, a, b, reference, c, d, reference, ...: a machine that slows down slows both of a
    pair. Every other round is the mirror image, so that a steady drift cancels.
    """
    order = []
    for i in range(0, len(others), 2):
        order += [reference, *others[i : i + 2]]
    order = order if len(others) % 2 else [*order, reference]
    return order[::-1] if number % 2 else order


def pair_ratios(reference: str, order: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    """Reference ÷ other for each other of a round, each with the reference that ran next to it.

    Args:
        reference: the name in the numerator.
        order: who ran, from `turns`.
        values: what each reached, in that order.
    """
    ratios = {}
    for i, name in enumerate(order):
        if name == reference:
            continue
        near = [j for j in (i - 1, i + 1) if 0 <= j < len(order) and order[j] == reference]
        ratios[name] = statistics.mean(values[j] for j in near) / values[i]
    return ratios


def spread(values: Sequence[float]) -> dict[str, float]:
    """Least, median and greatest."""
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def best(medians: Mapping[str, float]) -> str | None:
    """Who has the greatest median; nobody of nobody."""
    return max(medians, key=lambda name: medians[name], default=None)
