"""Plants faults in the numerical code, one at a time, and counts those that the tests find.

    python scripts/mutation.py                      # 450 of them, resumed where it was stopped
    python scripts/mutation.py --only jaxcv/layers  # some modules alone
    python scripts/mutation.py --list               # survivors so far, and what is left

Each mutant is run against the tests of its own module, then, if it lives, against those of its
package. Results are kept under `runs/mutation` and hold as long as the module and its tests do.
Faults that change nothing are listed, with why, in `mutation_equivalents.toml` beside this file.

The usual tools fall short here. mutmut 3 leaves decorated functions alone and wraps the others,
which hides the signatures that jaxtyping and `custom_vjp` look at. cosmic-ray 8 changes the files
that one is working on, has one test command for all modules and takes no sample; two thirds of its
mutants of arithmetic (`a + b` to `a >> b`) end in a TypeError, which any test finds.
"""

import argparse
import contextlib
import hashlib
import json
import os
import resource
import shutil
import signal
import sys
import time
import tomllib
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from mutants import Mutant, mutants

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "runs" / "mutation"
EQUIVALENTS = Path(__file__).with_name("mutation_equivalents.toml")
# What is mutated, and each one's share of the sample: by weight, since most lines are elsewhere.
PACKAGES = {"jaxcv/reference": 3, "jaxcv/layers": 2, "jaxcv/losses.py": 1, "jaxcv/ops": 3}
# Of processor time, for one mutant: a loop that no longer ends counts as found.
SECONDS = 240

# Tests of a module that are not in the file of the same name.
_OWN_TESTS = {
    "reference/arrays": ("reference/test_dense.py", "reference/test_softmax.py"),
    "reference/windows": ("reference/test_convolution.py", "reference/test_pooling.py"),
    "reference/standardization": (
        "reference/test_batch_normalization.py",
        "reference/test_group_normalization.py",
    ),
    "reference/parameters": ("reference/test_predict.py", "reference/test_convnet.py"),
    "layers/standardization": (
        "layers/test_batch_normalization.py",
        "layers/test_group_normalization.py",
    ),
    "losses": ("test_losses.py",),
    "ops/input_gradients": ("ops/test_gradient_forms.py", "ops/test_convolution.py"),
    "ops/filter_gradients": ("ops/test_gradient_forms.py", "ops/test_convolution.py"),
    "ops/filter_gradient_table": ("ops/test_gradient_forms.py",),
    "ops/pooling": ("ops/test_fused_pooling.py",),
}


class Outcome(NamedTuple):
    """What became of a mutant: found by which tests, or `survived`, in how many seconds."""

    mutant: str
    state: str
    result: str
    seconds: float


def own_tests(module: str) -> list[str]:
    """The files that test a module by name."""
    short = module.removeprefix("jaxcv/").removesuffix(".py")
    folder, _, stem = short.rpartition("/")
    candidates = (f"{folder}/test_{stem}.py", *_OWN_TESTS.get(short, ()))
    return [f"tests/{c}" for c in candidates if (ROOT / "tests" / c).is_file()]


def package_tests(module: str) -> list[str]:
    """All that test a module's package: its folder of tests, and those that cross it."""
    package = module.removeprefix("jaxcv/").removesuffix(".py").split("/")[0]
    candidates = {
        "reference": ("tests/reference",),
        "layers": ("tests/layers",),
        "losses": ("tests/test_functions.py", "tests/test_training.py"),
        "ops": ("tests/ops",),
    }[package]
    return [c for c in candidates if (ROOT / c).exists()]


def state(module: str) -> str:
    """A digest of a module and of the tests that it is run against."""
    digest = hashlib.sha256((ROOT / module).read_bytes())
    for test in (*own_tests(module), *package_tests(module)):
        path = ROOT / test
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def sample(seed: int, size: int) -> tuple[list[Mutant], dict[str, str]]:
    """Mutants by the order of their hashes, and the equivalent ones among them, with why.

    The equivalent ones are left out of the count: `size` mutants are worth finding.
    """
    with EQUIVALENTS.open("rb") as file:
        known = {name: e["why"] for e in tomllib.load(file)["equivalent"] for name in e["mutants"]}
    wanted: list[Mutant] = []
    equivalent: dict[str, str] = {}
    for package, weight in PACKAGES.items():
        rest = round(size * weight / sum(PACKAGES.values()))
        every = _mutants(package)
        for name in known.keys() - {mutant.name for mutant in every}:
            if name.startswith(package):
                print(f"no such mutant any more: {name}")
        for mutant in sorted(every, key=lambda mutant: mutant.rank(seed)):
            if mutant.name in known:
                equivalent[mutant.name] = known[mutant.name]
            elif rest:
                wanted.append(mutant)
                rest -= 1
            if not rest:
                break
    return wanted, equivalent


def _mutants(package: str) -> list[Mutant]:
    path = ROOT / package
    modules = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return [
        mutant
        for module in modules
        for mutant in mutants(module.relative_to(ROOT).as_posix(), module.read_text())
    ]


@contextlib.contextmanager
def copy_of_the_project() -> Iterator[Path]:
    """A copy to plant faults in; nobody else's files change."""
    tree = WORK / f"tree-{os.getpid()}"
    shutil.rmtree(tree, ignore_errors=True)
    caches = shutil.ignore_patterns("__pycache__")
    for name in ("jaxcv", "tests", "experiments", "scripts"):
        shutil.copytree(ROOT / name, tree / name, ignore=caches)
    shutil.copy(ROOT / "pyproject.toml", tree)
    try:
        yield tree
    finally:
        shutil.rmtree(tree, ignore_errors=True)


def preload() -> None:
    """What every run imports anyway: each child then starts with it. Nothing of jaxcv."""
    import beartype
    import flax.linen
    import hypothesis
    import jax
    import jaxtyping
    import optax
    import pytest

    for module in (beartype, flax.linen, hypothesis, jax, jaxtyping, optax, pytest):
        assert module
    assert not any(name.partition(".")[0] == "jaxcv" for name in sys.modules)


def passes(tree: Path, tests: Sequence[str]) -> bool:
    """Whether the tests pass in the copy, in a child process that ends with its first failure."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        # Whatever happens, the child never returns to the parent's code.
        status = 70
        try:
            status = _test(tree, tests)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)
    try:
        _, status = os.waitpid(child, 0)
    except BaseException:
        os.killpg(child, signal.SIGKILL)
        raise
    code = os.waitstatus_to_exitcode(status)
    if code in (2, 3, 4, 5) and _is_our_own_fault(tree, tests):
        raise SystemExit(f"pytest ended with status {code} on {tests}")
    return code == 0


def _is_our_own_fault(tree: Path, tests: Sequence[str]) -> bool:
    """No tests there to run; an import that fails is the mutant's."""
    return any(not (tree / test).exists() for test in tests)


def _test(tree: Path, tests: Sequence[str]) -> int:
    import pytest

    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    # In a session of its own: where Linux groups processes by session, being nice is the group's.
    os.setsid()
    os.nice(19)
    os.chdir(tree)
    os.environ["JAXCV_EXAMPLES"] = "10"
    sys.dont_write_bytecode = True
    log = os.open(WORK / "last.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "--no-header"]
    preloaded = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    code = int(pytest.main([*options, *preloaded, *tests]))
    sys.stdout.flush()
    # Not the checkout's: the copy comes first on the path (`pythonpath` in pyproject.toml).
    import jaxcv

    assert Path(str(jaxcv.__file__)).is_relative_to(tree), jaxcv.__file__
    return code


def judge(tree: Path, module: str, source: str) -> str:
    """Plants one fault; the tests that found it, or `survived`."""
    path = tree / module
    original = path.read_text()
    path.write_text(source)
    try:
        own, package = own_tests(module), package_tests(module)
        if own and not passes(tree, own):
            return "own tests"
        if package and not passes(tree, package):
            return "package tests"
        return "survived"
    finally:
        path.write_text(original)


def run(wanted: Sequence[Mutant], states: dict[str, str]) -> None:
    """Judges the mutants whose outcome is not known yet, and writes each down at once."""
    done = outcomes(states)
    todo = [mutant for mutant in wanted if mutant.name not in done]
    if not todo:
        return
    preload()
    with copy_of_the_project() as tree, (WORK / "outcomes.jsonl").open("a") as file:
        for module in sorted({_module(mutant) for mutant in todo}):
            if judge(tree, module, (ROOT / module).read_text()) != "survived":
                raise SystemExit(f"{module}: its tests fail without any fault, see {WORK}/last.log")
            if judge(tree, module, "raise RuntimeError") == "survived":
                raise SystemExit(f"{module}: its tests do not import it from the copy")
            for mutant in [m for m in todo if _module(m) == module]:
                start = time.monotonic()
                result = judge(tree, module, mutant.source)
                seconds = round(time.monotonic() - start, 1)
                outcome = Outcome(mutant.name, states[module], result, seconds)
                file.write(json.dumps(outcome._asdict()) + "\n")
                file.flush()
                print(f"{result:14} {seconds:6.1f} s  {mutant.name}", flush=True)


def outcomes(states: dict[str, str]) -> dict[str, Outcome]:
    """What is known of mutants whose module and tests are still the same."""
    path = WORK / "outcomes.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    known = [Outcome(**json.loads(line)) for line in lines]
    return {o.mutant: o for o in known if states.get(o.mutant.split(" ")[0]) == o.state}


def _module(mutant: Mutant) -> str:
    return mutant.name.split(" ")[0]


def report(wanted: Sequence[Mutant], equivalent: dict[str, str], states: dict[str, str]) -> float:
    """Prints survivors and rates; returns the share of faults found, of those that were run."""
    done = outcomes(states)
    judged = [done[mutant.name] for mutant in wanted if mutant.name in done]
    survivors = [o for o in judged if o.result == "survived"]
    for outcome in survivors:
        print(f"survived: {outcome.mutant}")
    for package in PACKAGES:
        inside = [o for o in judged if o.mutant.startswith(package)]
        found = sum(o.result != "survived" for o in inside)
        if inside:
            print(f"{package:16} {found:4} of {len(inside):4}  {100 * found / len(inside):5.1f} %")
    rate = 1 - len(survivors) / max(len(judged), 1)
    print(
        f"{len(judged)} of {len(wanted)} mutants run, {len(judged) - len(survivors)} found: "
        f"{100 * rate:.1f} % ({len(equivalent)} equivalent ones beside them)"
    )
    return rate


def main() -> None:
    """Runs what is left of the sample and reports."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--mutants", type=int, default=450, help="how many, beside equivalent ones")
    parser.add_argument("--seed", type=int, default=0, help="which")
    parser.add_argument("--only", default="", help="modules that start like this")
    parser.add_argument("--list", action="store_true", help="run nothing")
    parser.add_argument("--least", type=float, default=95.0, help="per cent that must be found")
    options = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    wanted, equivalent = sample(options.seed, options.mutants)
    wanted = [mutant for mutant in wanted if mutant.name.startswith(options.only)]
    states = {module: state(module) for module in {_module(mutant) for mutant in wanted}}
    if not options.list:
        run(wanted, states)
    rate = report(wanted, equivalent, states)
    if 100 * rate < options.least:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
