"""How a program of jaxcv ends: exit statuses, and one line on stderr for what is the user's."""

import contextlib
import sys
import traceback
import warnings
from collections.abc import Iterator

from jaxcv.errors import UserError
from jaxcv.peers import leave, loss, several
from jaxcv.refusals import refusal
from jaxcv.streams import outliving


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
    Everything else is a defect and keeps its traceback. A warning is one line, too. A program whose
    standard output has nowhere to go comes to its end all the same; only then is a full disk told
    of.
    """
    shown = warnings.showwarning
    warnings.showwarning = lambda message, *rest: print(
        f"{prog}: warning: {' '.join(str(message).split())}", file=sys.stderr
    )
    with outliving() as lost:
        try:
            yield
            failure = lost()
            if failure is not None:
                raise UserError(f"cannot write to standard output: {failure.strerror}")
        except BaseException as error:
            told = _told(error)
            if told is None:
                if several() and not isinstance(error, SystemExit):
                    traceback.print_exc()
                    leave(1)
                raise
            line, status = told
            print(f"{prog}: {line}", file=sys.stderr)
            leave(status)
            raise SystemExit(status) from None
        finally:
            warnings.showwarning = shown


def _told(error: BaseException) -> tuple[object, int] | None:
    """The line and the exit status of an exception that is meant for the user."""
    match error:
        case UserError():
            return error, 2
        case VerificationFailed():
            return error, 1
        case Interrupted():
            return error, error.status
        case KeyboardInterrupt():
            return "interrupted", 130
    refused = refusal(error) or loss(error)
    return None if refused is None else (refused, 2)
