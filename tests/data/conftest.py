from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def no_place_named(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch):
    """No test of this directory sees the user's cache, home or data."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.delenv("JAXCV_DATA_DIR", raising=False)
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)


@pytest.fixture
def cache() -> Path:
    """The directory in which decoded arrays are kept."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("jaxcv")) / "data"
