"""The import rules: who may know whom."""

import ast
import gc
import graphlib
import re
import types
from pathlib import Path

import pytest

import jaxcv

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "jaxcv").rglob("*.py"))
PURE = (
    "jaxcv.ops",
    "jaxcv.layers",
    "jaxcv.models",
    "jaxcv.losses",
    "jaxcv.reconstruction",
    "jaxcv.metrics",
    "jaxcv.optimizers",
    "jaxcv.schedules",
    "jaxcv.quasi_newton",
    "jaxcv.lbfgs",
    "jaxcv.device_data",
    "jaxcv.training",
    "jaxcv.evaluation",
    "jaxcv.experiment",
    "jaxcv.course",
)
SIDE_EFFECTS = {
    "logs", "checkpoints", "plots", "reports", "progress", "fitting", "programs", "figures",
    "epochs", "running", "workdirs", "results", "runtime", "cli", "script", "trained",
    "journal", "locks", "divergence", "saving", "outcome", "comparison", "autoencoding",
}  # fmt: skip


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in FILES}


def imports(path: Path, at_start: bool = False) -> set[str]:
    """Full names that a file imports; with `at_start` only what importing it imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found.update(alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}: relative imports hide who knows whom"
                for alias in child.names:
                    full = f"{child.module}.{alias.name}"
                    found.add(full if full in MODULES else str(child.module))
            lazy = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) or (
                isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            )
            if not (at_start and lazy):
                visit(child)
            elif isinstance(child, ast.If):
                for other in child.orelse:
                    visit(other)

    visit(tree)
    return found


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def test_the_modules_are_found():
    assert {"jaxcv", "jaxcv.fitting", "jaxcv.models.cnn", "jaxcv.ops"} <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is(name):
    text = ast.get_docstring(ast.parse(MODULES[name].read_text(encoding="utf-8")))
    assert text
    assert len(text.split("\n")[0]) > 15


@pytest.mark.parametrize("name", [n for n in MODULES if any(within(n, p) for p in PURE)])
def test_nothing_pure_knows_files_or_loops(name):
    for imported in imports(MODULES[name]):
        assert (
            imported.split(".")[1:2] == []
            or imported.split(".")[0] != "jaxcv"
            or (imported.split(".")[1] not in SIDE_EFFECTS)
        ), f"{name} imports {imported}"


@pytest.mark.parametrize("name", [n for n in MODULES if within(n, "jaxcv.models")])
def test_models_know_layers_and_settings_only(name):
    allowed = ("jaxcv.models", "jaxcv.layers", "jaxcv.ops", "jaxcv.constraints", "jaxcv.errors")
    for imported in imports(MODULES[name]):
        if within(imported, "jaxcv"):
            assert imported == "jaxcv" or any(within(imported, a) for a in allowed), imported


@pytest.mark.parametrize("name", [n for n in MODULES if within(n, "jaxcv.reference")])
def test_the_reference_knows_nothing_but_numpy(name):
    for imported in imports(MODULES[name]):
        assert imported.split(".")[0] not in ("jax", "jaxlib", "flax", "optax", "chex"), imported
        if within(imported, "jaxcv"):
            assert within(imported, "jaxcv.reference"), imported


@pytest.mark.parametrize("name", [n for n in MODULES if within(n, "jaxcv.data")])
def test_data_are_read_without_jax(name):
    for imported in imports(MODULES[name]):
        assert imported.split(".")[0] not in ("jax", "flax", "optax"), imported


def test_experiment_names_no_concrete_model_or_loader():
    for imported in imports(MODULES["jaxcv.experiment"]):
        assert not within(imported, "jaxcv.models")
        assert not within(imported, "jaxcv.data")


def test_nobody_imports_tensorflow():
    others = [p for d in ("experiments", "scripts", "tests") for p in (ROOT / d).rglob("*.py")]
    for path in [*FILES, *others]:
        assert not any(within(i, "tensorflow") for i in imports(path)), path


HEAVY = {
    "matplotlib", "tensorboardX", "tensorflow_datasets", "sklearn", "skimage", "h5py", "pooch",
    "rich", "tyro",
}  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_heavy_packages_are_imported_where_they_are_used(name):
    for imported in imports(MODULES[name], at_start=True):
        assert imported.split(".")[0] not in HEAVY, f"{name} imports {imported} at start"


@pytest.mark.parametrize(
    "name", ["jaxcv", "jaxcv.cli", "jaxcv.errors", "jaxcv.exits", "jaxcv.files", "jaxcv.runtime"]
)
def test_the_light_modules_import_no_jax(name):
    """Nor does anything that they import at start."""
    seen, todo = set(), [name]
    while todo:
        module = todo.pop()
        for imported in imports(MODULES[module], at_start=True):
            assert imported.split(".")[0] not in ("jax", "jaxlib", "flax", "optax"), module
            if imported in MODULES and imported not in seen:
                seen.add(imported)
                todo.append(imported)


@pytest.mark.parametrize(
    "name",
    ["jaxcv.script", "jaxcv.flags", "jaxcv.models", "jaxcv.optimizers", "jaxcv.losses"],
)
def test_a_help_text_imports_no_optax_and_no_loop(name):
    """They take a tenth of the time that importing JAX takes; so does all they import at start."""
    seen, todo = set(), [name]
    while todo:
        for imported in imports(MODULES[todo.pop()], at_start=True):
            assert not within(imported, "optax")
            assert imported not in ("jaxcv.training", "jaxcv.fitting", "jaxcv.running")
            if imported in MODULES and imported not in seen and imported != "jaxcv":
                seen.add(imported)
                todo.append(imported)


def mapped() -> dict[str, int]:
    """The line of README's map for each module and package directly in jaxcv."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = text.split("\njaxcv/\n")[1].split("\nexperiments/ ")[0].splitlines()
    found = {}
    for number, line in enumerate(lines):
        if not line.startswith("   "):  # else it goes on with the one above
            names = re.match(r"  ((?:\w+(?:\.py|/) )+)", line)
            assert names, line
            found |= dict.fromkeys(re.findall(r"\w+(?=\.py|/)", names[1]), number)
    return found


def test_the_map_has_every_module_and_nothing_else():
    direct = {name.split(".")[1] for name in MODULES if "." in name} - {"__main__"}
    assert set(mapped()) == direct


@pytest.mark.parametrize("name", [n for n in MODULES if n not in ("jaxcv", "jaxcv.__main__")])
def test_each_imports_only_what_stands_above_it_in_the_map(name):
    """Whenever it does."""
    line, mine = mapped(), name.split(".")[1]
    for imported in imports(MODULES[name]):
        if imported in MODULES and imported != "jaxcv":
            other = imported.split(".")[1]
            assert other == mine or line[other] <= line[mine], imported


def test_no_module_imports_itself_in_a_circle():
    graph = {
        name: {i for i in imports(path, at_start=True) if i in MODULES and i != "jaxcv"} - {name}
        for name, path in MODULES.items()
    }
    assert list(graphlib.TopologicalSorter(graph).static_order())


def test_no_module_is_named_utils():
    assert not [name for name in MODULES if "util" in name or "helper" in name]


def test_importing_pauses_the_search_for_garbage_and_no_longer(monkeypatch):
    during = []
    importer = types.SimpleNamespace(import_module=lambda name: during.append(gc.isenabled()))
    monkeypatch.setattr(jaxcv, "importlib", importer)
    jaxcv._imported("a_module_not_imported_yet")
    assert gc.isenabled()
    gc.disable()  # as the caller may have it
    try:
        jaxcv._imported("another")
        assert not gc.isenabled()
    finally:
        gc.enable()
    assert during == [False, False]


def test_public_names_are_there():
    for name in jaxcv.__all__:
        if name != "layers":
            assert getattr(jaxcv, name) is not None
    assert dir(jaxcv) == sorted(jaxcv.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = jaxcv.nonsense
