"""The peers' virtual environments: made once, from PyPI, in a directory that the user chooses."""

import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path

from jaxcv.errors import UserError

_KERAS = "keras==3.15.1"


def requirements(environment: str) -> list[str]:
    """What pip installs in an environment."""
    return {
        # The version decides that pip does not take CUDA's several gigabytes.
        "pytorch": ["torch==2.13.0", "numpy==2.4.6"],
        "keras-tensorflow": [_KERAS, "tensorflow-cpu==2.21.0"],
        # The very jax that ours runs on.
        "keras-jax": [_KERAS, f"jax=={version('jax')}", f"jaxlib=={version('jaxlib')}"],
    }[environment]


def python_of(environment: str, directory: Path) -> Path:
    """The interpreter of an environment, which is made first where there is none.

    Plain Flax runs in jaxcv's own environment, "": on the same jax.

    Raises:
        UserError: pip could not install what it needs.
    """
    if not environment:
        return Path(sys.executable)
    home = directory.absolute() / environment
    python = home / "bin" / "python"
    if not python.exists():
        wanted = requirements(environment)
        print(f"making {home}: {' '.join(wanted)}", file=sys.stderr)
        venv.create(home, with_pip=True, clear=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        outcome = subprocess.run([*command, *wanted], capture_output=True, text=True)
        if outcome.returncode:
            python.unlink()  # not whole: made again next time
            last = (outcome.stderr.strip().splitlines() or ["pip failed"])[-1]
            raise UserError(f"cannot install {' '.join(wanted)}: {last}")
    return python
