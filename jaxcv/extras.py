"""Packages that only some need, and the one line when such a package is missing."""

import importlib
from typing import Any

from jaxcv.errors import UserError


def require(module: str, extra: str) -> Any:
    """A module of an optional dependency.

    Args:
        module: such as "optuna".
        extra: of jaxcv, that installs it.

    Raises:
        UserError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if error.name is not None and error.name.partition(".")[0] != module.partition(".")[0]:
            raise  # it is installed, and something that it needs is broken
        raise UserError(
            f"this needs {module}, which is not installed: pip install 'jaxcv[{extra}]'"
        ) from None
