"""Every test runs seeded, away from the user's caches, with annotations checked."""

import os
import tempfile
from pathlib import Path

from jaxtyping import install_import_hook

import tests.typechecking

_CACHE = tempfile.mkdtemp(prefix="jaxcv-tests-")
os.environ["XDG_CACHE_HOME"] = _CACHE

# Before anything imports jaxcv: annotations of array shapes and types are checked while testing.
install_import_hook("jaxcv", f"{tests.typechecking.__name__}.checked")

import hypothesis  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

# No deadline, since a first example may compile; the same few examples each time; and no phase
# "explain", which traces every line and takes minutes once a test has failed.
hypothesis.settings.register_profile(
    "jaxcv",
    deadline=None,
    max_examples=30,
    derandomize=True,
    phases=[phase for phase in hypothesis.Phase if phase is not hypothesis.Phase.explain],
)
hypothesis.settings.load_profile("jaxcv")


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded source of random numbers."""
    return np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test leaves in `runs/` never lands in the checkout."""
    monkeypatch.chdir(tmp_path)
