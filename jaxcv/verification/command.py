"""`jaxcv verify`: the table on stdout, the verdict as exit status."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from jaxcv.errors import UserError

USAGE = """usage: jaxcv verify [--json] [--deep]

Computes every op and a training step of every network on this machine's default device, forward
and gradients, eager, jitted, vmapped and scanned, and compares with a reference in float64.
Exit status 0 if all hold, 1 if anything is WRONG.

  --json  print one JSON object in place of the table
  --deep  more shapes, seeds and sizes: minutes"""


def run(arguments: Sequence[str]) -> None:
    """Verifies and prints.

    Raises:
        UserError: an unknown argument, or no device to compute on.
        SystemExit: 1 where something is wrong.
    """
    if any(argument in ("-h", "--help") for argument in arguments):
        print(USAGE)
        return
    for argument in arguments:
        if argument not in ("--json", "--deep"):
            raise UserError(f"verify takes --json and --deep, not {argument!r}")
    from jaxcv.runtime import require_device
    from jaxcv.verification.table import as_json, show
    from jaxcv.verification.verify import verify

    require_device()
    started = time.monotonic()
    with _progress() as report:
        rows = verify(deep="--deep" in arguments, report=report)
    seconds = time.monotonic() - started
    if "--json" in arguments:
        print(as_json(rows, seconds))
    else:
        show(rows, seconds)
    if not all(row.ok for row in rows):
        raise SystemExit(1)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Says on a terminal's stderr which part is done; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda what: None
        return
    from rich.console import Console

    with Console(stderr=True).status("verifying") as status:
        yield lambda what: status.update(f"verified: {what}")
