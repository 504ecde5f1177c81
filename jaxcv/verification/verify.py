"""Everything that is verified, in one list of rows."""

import contextlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial

import jax
from jax.experimental.compilation_cache import compilation_cache

from jaxcv.verification import operators, precisions, probes, steps
from jaxcv.verification.cases import Case, all_cases
from jaxcv.verification.rows import Row

SEEDS = 1
DEEP_SEEDS = 2


def verify(deep: bool = False, report: Callable[[str], None] = lambda what: None) -> list[Row]:
    """Computes every op, each network's step and the known miscompilations, and compares.

    Nothing that was compiled or found earlier is used, and no version is looked at.

    Args:
        deep: more shapes, seeds and sizes, everything at the highest precision and op by op too:
            minutes instead of one.
        report: told the name of each part when it is done.

    Returns:
        A row for each computation in each mode; all is well if every `row.ok`.
    """
    # Tracing holds Python's lock, compiling does not.
    workers = max(2, min(4, os.cpu_count() or 1))
    with without_cache(), ThreadPoolExecutor(workers) as pool:
        rows = probe_rows(deep, pool)
        report("probes")
        settings = [precisions.measure("highest"), precisions.measure("default")]
        rows += map(precisions.row, settings)
        seeds = range(DEEP_SEEDS if deep else SEEDS)
        # The longest first, so that no processor waits for it in the end.
        parts: list[tuple[str, Callable[[], list[Row]]]] = [
            (f"{name} step", partial(steps.check_steps, name, experiment, settings, deep))
            for name, experiment in steps.experiments()
        ]
        parts += [
            (op, partial(operators.check_op, cases, settings, seeds, deep))
            for op, cases in by_op(all_cases(deep)).items()
        ]

        def check(part: tuple[str, Callable[[], list[Row]]]) -> list[Row]:
            name, compute = part
            found = compute()
            report(name)
            return found

        checked = list(pool.map(check, parts))
    return [row for part in [*checked, rows] for row in part]


def probe_rows(deep: bool, pool: Executor) -> list[Row]:
    """The probes, each in a child process, which may abort.

    A TPU serves one process only, which is this one: a child would compute on the CPU.
    """
    names = probe_names(deep)
    if jax.default_backend() == "tpu":
        return [probes.measured(probes.PROBES[name]) for name in names]
    return list(pool.map(probes.probed, names))


def probe_names(deep: bool) -> list[str]:
    """The probes that are run."""
    return [name for name, probe in probes.PROBES.items() if deep or not probe.deep]


def by_op(cases: list[Case]) -> dict[str, list[Case]]:
    """The geometries of each op."""
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(case.op, []).append(case)
    return groups


@contextlib.contextmanager
def without_cache() -> Iterator[None]:
    """While inside, every program is compiled anew."""
    before = jax.config.values["jax_enable_compilation_cache"]
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", before)
        compilation_cache.reset_cache()
