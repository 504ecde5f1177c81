"""One writer a directory: a lock that ends with the process that holds it, however it ends."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from jaxcv.errors import UserError
from jaxcv.files import make_directory

NAME = ".lock"


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Holds a directory as its only writer.

    The system lets go of the lock when the process ends, killed or not; the file that stays then
    locks nothing. Threads of one process exclude each other too.

    Args:
        directory: made when absent.

    Raises:
        UserError: another process, or another thread, is writing there.
        OSError: the place cannot be written.

    Example:
        >>> with locked(Path("runs/cnn")):  # doctest: +SKIP
        ...     train()
    """
    make_directory(directory)
    path = directory / NAME
    file = _acquired(path)
    try:
        yield
    finally:
        # While it is still held: whoever has opened this file already sees that it is gone.
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(file)


def _acquired(path: Path) -> int:
    """Opens and locks a file that is still the one of this name then."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file), path.stat()):
                    return file
        except BlockingIOError:
            os.close(file)
            raise UserError(
                f"another process is writing in {path.parent}; wait until it has ended, or choose "
                "another directory"
            ) from None
        except BaseException:
            os.close(file)
            raise
        os.close(file)
