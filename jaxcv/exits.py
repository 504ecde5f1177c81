"""How a program of jaxcv ends: exit statuses, and one line on stderr for what is the user's."""

import contextlib
import sys
import warnings
from collections.abc import Iterator

from jaxcv.errors import UserError
from jaxcv.refusals import refusal


class Interrupted(Exception):
    """The run was told to stop by a signal, and has saved its state.

    Attributes:
        status: the exit status that says so: 130 for Ctrl-C, 143 for SIGTERM.
    """

    def __init__(self, number: int, message: str):
        super().__init__(message)
        self.status = 128 + number


class VerificationFailed(Exception):
    """The backend computes something wrongly: nothing is trained on it."""


@contextlib.contextmanager
def exits(prog: str) -> Iterator[None]:
    """Turns what is meant for the user into one line on stderr and an exit status.

    UserError, and memory that the machine refuses: 2. A failed verification: 1. A signal that the
    run has saved its state for: 130 (Ctrl-C) or 143 (SIGTERM).
    Everything else is a defect and keeps its traceback. A warning is one line, too.
    """
    shown = warnings.showwarning
    warnings.showwarning = lambda message, *rest: print(
        f"{prog}: warning: {' '.join(str(message).split())}", file=sys.stderr
    )
    try:
        yield
    except UserError as error:
        print(f"{prog}: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except VerificationFailed as failure:
        print(f"{prog}: {failure}", file=sys.stderr)
        raise SystemExit(1) from None
    except Interrupted as stop:
        print(f"{prog}: {stop}", file=sys.stderr)
        raise SystemExit(stop.status) from None
    except KeyboardInterrupt:
        print(f"{prog}: interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    except (RuntimeError, MemoryError) as error:
        refused = refusal(error)
        if refused is None:
            raise
        print(f"{prog}: {refused}", file=sys.stderr)
        raise SystemExit(2) from None
    finally:
        warnings.showwarning = shown
