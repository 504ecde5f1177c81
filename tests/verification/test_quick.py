import ast
import json
from pathlib import Path

import jax
import platformdirs
import pytest

import jaxcv
from jaxcv.exits import VerificationFailed, exits
from jaxcv.verification import quick


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(tmp_path / name))
    return tmp_path / "jaxcv" / "verified"


@pytest.fixture
def runs(monkeypatch):
    """How often the check ran; what it is to find is put in front."""
    finds = [""]
    ran = []

    def failure():
        ran.append(quick.combination())
        return finds[0]

    monkeypatch.setattr(quick, "failure", failure)
    return finds, ran


def test_a_pass_is_silent_and_remembered(runs, cache, capfd):
    _, ran = runs
    quick.ensure_verified()
    quick.ensure_verified()
    assert len(ran) == 1
    (file,) = cache.iterdir()
    assert json.loads(file.read_text()) == quick.combination()
    assert capfd.readouterr() == ("", "")


def test_a_failure_is_one_line_with_status_one_and_is_not_remembered(runs, cache, capfd):
    finds, ran = runs
    finds[0] = "conv2d gradient, jit+vmap"
    for _ in range(2):
        with pytest.raises(SystemExit) as ended, exits("cnn.py"):
            quick.ensure_verified()
        assert ended.value.code == 1
    assert len(ran) == 2
    assert not cache.exists()
    first, second = capfd.readouterr().err.splitlines()
    assert first == second
    assert first.startswith("cnn.py: this backend computes wrong results (conv2d gradient, jit+vm")
    assert "XLA_FLAGS=" in first


def test_no_verify_skips(runs, cache):
    finds, ran = runs
    finds[0] = "all of it"
    quick.ensure_verified(no_verify=True)
    assert ran == []
    assert not cache.exists()


def test_every_part_of_the_combination_is_verified_anew(runs, monkeypatch):
    _, ran = runs
    quick.ensure_verified()
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=true")
    quick.ensure_verified()
    jax.config.update("jax_default_matmul_precision", "highest")
    try:
        quick.ensure_verified()
    finally:
        jax.config.update("jax_default_matmul_precision", None)
    with jax.enable_x64(True):
        monkeypatch.setitem(jax.config.values, "jax_enable_x64", True)
        quick.ensure_verified()
    monkeypatch.setitem(jax.config.values, "jax_enable_x64", False)
    monkeypatch.setattr(quick.importlib.metadata, "version", lambda name: "0.10.2")
    quick.ensure_verified()
    monkeypatch.setattr(quick.runtime, "processor", lambda: "another")
    quick.ensure_verified()
    monkeypatch.setattr(
        jax, "devices", lambda: [type("D", (), {"platform": "gpu", "device_kind": "X"})]
    )
    quick.ensure_verified()
    assert len({json.dumps(one) for one in ran}) == 7
    quick.ensure_verified()
    assert len(ran) == 7


def test_a_cache_that_cannot_be_written_is_no_error(runs, cache):
    _, ran = runs
    cache.parent.parent.mkdir(exist_ok=True)
    cache.parent.write_text("a file where a folder should be")
    quick.ensure_verified()
    quick.ensure_verified()
    assert len(ran) == 2


def test_it_passes_here_in_a_child(cache):
    quick.ensure_verified()
    assert len(list(cache.iterdir())) == 1


def test_a_child_that_dies_is_a_failure(monkeypatch):
    monkeypatch.setattr(quick.sys, "executable", "/bin/false")
    with pytest.raises(VerificationFailed, match="ended with status 1"):
        quick.ensure_verified()


def test_versions_are_read_for_the_memory_alone():
    folder = Path(jaxcv.__file__).parent / "verification"
    reading = {
        path.name
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and "version" in node.attr
    }
    assert reading == {"quick.py"}
