"""Every op in every mode against the reference."""

from collections.abc import Iterator, Sequence

import jax
import numpy as np

from jaxcv.verification.cases import Case
from jaxcv.verification.modes import MODES, fresh, gradient
from jaxcv.verification.precisions import Precision, setting
from jaxcv.verification.rows import Row, compare, refused, worst
from jaxcv.verification.running_error import Bounded

LANES = 3


class Draw:
    """Examples of one case, a lane each, with what the reference makes of them."""

    def __init__(self, case: Case, seed: int, integers: bool):
        rng = np.random.default_rng(seed)
        self._case = case
        self.examples = [case.draw(rng, integers) for _ in range(LANES)]
        self._exact = integers and case.exact
        self.what = f"{case.variant}, {'integers' if integers else 'normal'}, seed {seed}"

    def arguments(self) -> tuple[np.ndarray, ...]:
        """Inputs and auxiliary arrays, stacked."""
        return _stack([(*example.inputs, *example.auxiliary) for example in self.examples])

    def upstream(self) -> np.ndarray:
        """Gradients with respect to the outputs, stacked."""
        return np.stack([example.upstream for example in self.examples])

    def forward(self, u: float) -> tuple[Bounded, ...]:
        """The outputs, stacked; alone in a tuple."""
        return self._expected([(self._case.forward(e, u),) for e in self.examples])

    def backward(self, u: float) -> tuple[Bounded, ...]:
        """The gradients, stacked."""
        assert self._case.backward is not None
        return self._expected([self._case.backward(e, u) for e in self.examples])

    def _expected(self, lanes: Sequence[tuple[Bounded, ...]]) -> tuple[Bounded, ...]:
        return tuple(
            Bounded(
                np.stack([part.value for part in parts]),
                np.stack([0.0 * part.error if self._exact else part.error for part in parts]),
            )
            for parts in zip(*lanes, strict=True)
        )


def _stack(lanes: Sequence[tuple[np.ndarray, ...]]) -> tuple[np.ndarray, ...]:
    return tuple(np.stack(parts) for parts in zip(*lanes, strict=True))


def draws(case: Case, seeds: Sequence[int]) -> list[Draw]:
    """Normal numbers for each seed, and integers where they are to be exact."""
    kinds = (True, False) if case.exact else (False,)
    return [Draw(case, seed, integers) for seed in seeds for integers in kinds]


def check_op(
    cases: Sequence[Case], precisions: Sequence[Precision], seeds: Sequence[int], deep: bool
) -> list[Row]:
    """One row for each mode and precision of an op, forward and gradient.

    Every geometry is compiled in every way at the backend's default precision. Dispatching op by
    op costs a compilation for each primitive, and the highest precision only changes products, so
    these take the first geometry alone where there is little time.

    Args:
        cases: the geometries of one op.
        precisions: the settings to compute under; an op without products takes none.
        seeds: of the examples.
        deep: all of everything.
    """
    rows: list[Row] = []
    for number, case in enumerate(cases):
        first = deep or number == 0
        modes = tuple(mode for mode in MODES if first or mode != "eager")
        for precision in precisions if case.contracts else (None,):
            if first or precision is None or precision.setting == "default":
                rows += check_case(case, precision, seeds, modes)
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.op, row.precision, row.mode), []).append(row)
    return [worst(groups[key]) for key in groups]


def check_case(
    case: Case, precision: Precision | None, seeds: Sequence[int], modes: Sequence[str]
) -> Iterator[Row]:
    """A row for each mode, forward and gradient, of an op with one geometry."""
    drawn = draws(case, seeds)
    u = Precision("", 23).roundoff if precision is None else precision.roundoff
    label = "float32" if precision is None else precision.label
    inputs = len(drawn[0].examples[0].inputs)
    expected = [(draw, draw.arguments(), draw.forward(u)) for draw in drawn]
    programs = [(case.op, fresh(case.function), expected)]
    if case.backward is not None:
        pulled = [(d, (d.upstream(), *d.arguments()), d.backward(u)) for d in drawn]
        programs.append((f"{case.op} gradient", gradient(case.function, inputs), pulled))
    for op, function, examples in programs:
        for mode in modes:
            with setting("default" if precision is None else precision.setting):
                program = MODES[mode](function)
                yield worst(
                    _check(program, draw, arguments, values, Row(op, mode, label, 0.0, 0.0))
                    for draw, arguments, values in examples
                )


def _check(program, draw: Draw, arguments, expected: tuple[Bounded, ...], row: Row) -> Row:
    try:
        actual = [np.asarray(leaf) for leaf in jax.tree.leaves(program(*arguments))]
    except Exception as error:
        return refused(row, error, draw.what)
    pairs = [compare(a, e) for a, e in zip(actual, expected, strict=True)]
    ulps, fractions = zip(*pairs, strict=True)
    note = draw.what if max(fractions) > 1 else ""
    return row._replace(ulp=max(ulps), fraction=max(fractions), note=note)
