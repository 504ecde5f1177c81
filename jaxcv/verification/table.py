"""The rows as people and programs read them."""

import json
import math
import sys
from collections import Counter
from collections.abc import Sequence

from jaxcv.verification.rows import Row

_HEADINGS = ("op", "mode", "precision", "ULP", "of bound", "")

REMEDY = (
    "Do not train with this. Install the versions of constraints.txt (pip install -c), or turn the "
    "faulty fusion off with XLA_FLAGS=--xla_cpu_experimental_ynn_fusion_type= (an empty value), "
    "and run `jaxcv verify` again."
)


def summary(rows: Sequence[Row], seconds: float) -> str:
    """One line: how many hold, and how near the nearest is to its bound."""
    wrong = [row for row in rows if not row.ok]
    held = [row for row in rows if row.ok]
    nearest = max(held, key=lambda row: row.fraction, default=None)
    faults = f", {len(wrong)} WRONG" if wrong else ""
    text = f"{len(held)} of {len(rows)} hold{faults}, in {seconds:.0f} s"
    if nearest is None:
        return text
    return f"{text}; nearest to its bound: {nearest.op}, {nearest.mode}, {number(nearest.fraction)}"


def number(value: float) -> str:
    """Three digits; nothing shorter is lost."""
    if math.isinf(value):
        return "infinite"
    return f"{value:.3g}"


def cells(row: Row) -> tuple[str, ...]:
    """The row's columns as text."""
    verdict = "ok" if row.ok else f"WRONG {row.note}".rstrip()
    return row.op, row.mode, row.precision, number(row.ulp), number(row.fraction), verdict


def plain(rows: Sequence[Row]) -> str:
    """Aligned columns, as wide as they need to be."""
    table = [_HEADINGS, *map(cells, rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    numeric = (False, False, False, True, True, False)
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in table
    )


def show(rows: Sequence[Row], seconds: float) -> None:
    """Prints the table and what follows from it: in colour on a terminal, else plain."""
    if sys.stdout.isatty():
        _show_in_colour(rows)
    else:
        print(plain(rows))
    print()
    print(
        "ULP: units in the last place (float32) of the largest value of the array. of bound: the "
        "largest error over its own bound."
    )
    print(summary(rows, seconds))
    if not all(row.ok for row in rows):
        print(REMEDY)


def _show_in_colour(rows: Sequence[Row]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in _HEADINGS:
        right = heading in ("ULP", "of bound")
        table.add_column(heading, justify="right" if right else "left", overflow="fold")
    for row in rows:
        table.add_row(*cells(row), style=None if row.ok else "bold red")
    Console().print(table, markup=False)


def as_json(rows: Sequence[Row], seconds: float) -> str:
    """One object: whether all hold, on what, and every row."""
    import jax

    device = jax.devices()[0]
    counts = Counter(row.ok for row in rows)
    return json.dumps(
        {
            "ok": counts[False] == 0,
            "hold": counts[True],
            "wrong": counts[False],
            "seconds": round(seconds, 1),
            "device": f"{device.platform} {device.device_kind}",
            "rows": [row.as_json() for row in rows],
            **({} if counts[False] == 0 else {"remedy": REMEDY}),
        },
        indent=2,
    )
