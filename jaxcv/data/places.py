"""Where data files are looked for."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

from jaxcv.errors import UserError

_VARIABLES = ("JAXCV_DATA_DIR", "TFDS_DATA_DIR")


@dataclasses.dataclass(frozen=True)
class Place:
    """A file or directory the user named: the only place that is looked at.

    Attributes:
        path: The place itself.
        origin: What named it, for messages: "--data-dir" or an environment variable.
    """

    path: Path
    origin: str

    def __str__(self) -> str:
        """Name the place as a message does."""
        return f"{self.path} ({self.origin})"

    def require(self, expected: str) -> None:
        """Raise UserError unless there is something at this place.

        Args:
            expected: What may be there, for the message.
        """
        if not self.path.exists():
            raise UserError(f"no file or directory {self}; it must be {expected}")
        if self.path.is_dir() and not any(self.path.iterdir()):
            raise UserError(f"the data directory {self} is empty; it must be {expected}")


def named_place(
    data_dir: Path | None, environment: Mapping[str, str] | None = None
) -> Place | None:
    """Find the place the user named: the argument, else $JAXCV_DATA_DIR, else $TFDS_DATA_DIR.

    Args:
        data_dir: The value of `--data-dir`.
        environment: Environment variables, the process's own by default; an empty one counts as
            not set.

    Returns:
        The place, whether or not anything is there; None if none is named.
    """
    if data_dir is not None:
        return Place(_expanded(data_dir, "--data-dir"), "--data-dir")
    environment = os.environ if environment is None else environment
    for variable in _VARIABLES:
        if environment.get(variable):
            return Place(_expanded(Path(environment[variable]), f"${variable}"), f"${variable}")
    return None


def _expanded(path: Path, origin: str) -> Path:
    """The absolute path, "~" included.

    Raises:
        UserError: there is no such user's home directory.
    """
    try:
        return path.expanduser().absolute()
    except RuntimeError:
        raise UserError(f"{origin} is {path}: there is no home directory of that name") from None
