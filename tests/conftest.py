"""Every test runs seeded, away from the user's caches, with annotations checked."""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from jaxtyping import install_import_hook

import tests.typechecking

_CACHE = tempfile.mkdtemp(prefix="jaxcv-tests-")
os.environ["XDG_CACHE_HOME"] = _CACHE

# Two thirds of the suite's time would be spent on optimising programs that run once: here and in
# the processes that tests start, LLVM leaves most of that out. AS_USERS_COMPILE lists the tests
# whose subject is the compiled arithmetic; `make test-all` and `make deep` optimise everywhere.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
AS_USERS_COMPILE = {"ops", "verification"}

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


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leaves out, by name, what would begin after JAXCV_TESTS_UNTIL (seconds since 1970)."""
    if time.time() > float(os.environ.get("JAXCV_TESTS_UNTIL", "inf")):
        pytest.skip(f"{item.nodeid} left out: no time was left")


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded source of random numbers."""
    return np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test leaves in `runs/` never lands in the checkout."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module", autouse=True)
def _optimization(request: pytest.FixtureRequest) -> Iterator[None]:
    """Compiles the programs of the tests listed above as a user's are compiled."""
    import jax

    cheap = jax.config.values["jax_disable_most_optimizations"]
    if not cheap or not AS_USERS_COMPILE & set(request.path.parts):
        yield
        return
    jax.clear_caches()
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)
