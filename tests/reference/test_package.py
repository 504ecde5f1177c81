import ast
import doctest
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import jaxcv.reference

DIRECTORY = Path(jaxcv.reference.__path__[0])
MODULES = sorted(module.name for module in pkgutil.iter_modules([str(DIRECTORY)]))
ALLOWED = {"numpy", "jaxtyping", *sys.stdlib_module_names}


def test_imports_no_jax_and_nothing_else_of_the_project():
    code = (
        "import sys, jaxcv.reference;"
        "assert 'jax' not in sys.modules and 'flax' not in sys.modules;"
        "ours = {m for m in sys.modules if m.startswith('jaxcv.')};"
        "assert all(m.startswith('jaxcv.reference') for m in ours), ours"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd=DIRECTORY.parents[1])


@pytest.mark.parametrize("path", sorted(DIRECTORY.glob("*.py")), ids=lambda path: path.stem)
def test_each_file_imports_only_what_a_reader_may_trust(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names = [node.module or ""]
        for name in names:
            own = name.startswith("jaxcv.reference.")
            assert own or name.split(".")[0] in ALLOWED, f"{path.name} imports {name}"


def test_every_public_name_exists_and_every_backward_has_its_forward():
    names = jaxcv.reference.__all__
    assert len(names) == len(set(names))
    for name in names:
        assert callable(getattr(jaxcv.reference, name))
        assert name.removesuffix("_backward") in names


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings(module):
    assert doctest.testmod(importlib.import_module(f"jaxcv.reference.{module}")).failed == 0
