import contextlib
import dataclasses
import json
import os
import re
import runpy
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from flax import linen as nn

from jaxcv import runtime
from jaxcv.errors import UserError
from jaxcv.files import read_json, write_json
from jaxcv.models import network

ROOT = Path(__file__).parents[1]
SCRIPT: Any = runpy.run_path(str(ROOT / "scripts" / "reproduce.py"))
TABLE: Any = runpy.run_path(str(ROOT / "scripts" / "experiments_table.py"))
ROWS, Flags, reproduce = (SCRIPT[name] for name in ("ROWS", "Flags", "reproduce"))


def record(**changes: Any) -> dict[str, Any]:
    versions = {"jax": "0.9.2", "flax": "0.12", "optax": "0.2.8", "jaxcv": "0.1"}
    return {
        "epochs": 15,
        "num_params": 79690,
        "test_accuracy": 0.7,
        "val_accuracy": None,
        "images_per_second": 1234.5,
        "versions": versions,
        "device": "cpu",
    } | changes


def test_every_row_has_its_script_and_every_network_of_the_first_table_its_row():
    for name in ROWS:
        assert (ROOT / "experiments" / f"{name}.py").is_file()
        assert isinstance(network(name), nn.Module)  # as `jaxcv inspect` knows it
    first = {"softmax_sgd", "softmax_adam", "mlp_tanh", "mlp_relu", "cnn", "cnn_batchnorm",
             "cnn_strides", "cnn_global_pool", "resnet20"}  # fmt: skip
    assert first <= set(ROWS)


@pytest.mark.parametrize("name", ROWS)
def test_every_page_says_what_the_results_say(name):
    """A script's docstring, README's table and the table of all experiments."""
    paths = sorted((ROOT / "experiments" / "results").glob(f"{name}_seed*.json"))
    found = [read_json(path) for path in paths]
    text = (ROOT / "experiments" / f"{name}.py").read_text(encoding="utf-8")
    claim = re.search(r"^CIFAR-10 test accuracy .*$", text, re.MULTILINE)
    if not found:
        assert claim is None
        return
    accuracy = TABLE["percent"](record["test_accuracy"] for record in found)
    short = f"; {found[0]['epochs']} epochs" if ROWS[name].full_epochs else ""
    assert claim is not None
    assert claim[0] == f"CIFAR-10 test accuracy {accuracy} % (n = {len(found)}{short})"
    everything = (ROOT / "experiments" / "README.md").read_text(encoding="utf-8")
    assert line(everything, name)[3:5] == [str(len(found)), accuracy]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    if f"\n| `{name}` | " in readme:
        assert line(readme, name)[-1] == f"{accuracy} % ({len(found)})"


def line(text: str, name: str) -> list[str]:
    (found,) = [row for row in text.splitlines() if row.startswith(f"| `{name}` |")]
    return [cell.strip() for cell in found.strip("|").split("|")]


def test_the_table():
    found = {name: [] for name in ROWS}
    found["cnn"] = [record(test_accuracy=0.70), record(test_accuracy=0.72)]
    found["resnet56"] = [record(epochs=12, val_accuracy=0.5)]
    text = TABLE["table"](found)
    assert line(text, "cnn")[:9] == [
        "`cnn`", "15", "79,690", "2", "71.00 ± 1.41", "", "1,234", "", "69.2",
    ]  # fmt: skip
    assert line(text, "resnet56")[1] == "12 of 150"
    assert line(text, "resnet56")[3:6] == ["1", "70.00", "50.00"]
    assert line(text, "softmax_sgd")[3:5] == ["0", "not run"]
    assert "jax 0.9.2" in text


class Ended:
    """A program that has ended."""

    def __init__(self, returncode: int):
        self.returncode = returncode

    def poll(self) -> int:
        return self.returncode

    terminate = wait = poll


def commands(monkeypatch: pytest.MonkeyPatch, status: int = 0) -> list[list[str]]:
    """Takes the place of the programs that would be run; they leave a result."""
    ran: list[list[str]] = []

    def start(run, flags, threads):
        ran.append(SCRIPT["command"](run, flags))
        if status == 0:
            run.workdir.mkdir(parents=True)
            write_json(run.workdir / "result.json", record())
        return Ended(status)

    monkeypatch.setitem(reproduce.__globals__, "_start", start)
    monkeypatch.setitem(reproduce.__globals__, "write_table", lambda results, page: None)
    return ran


def test_what_has_a_result_is_not_run_again(monkeypatch):
    ran = commands(monkeypatch)
    flags = Flags(names=("cnn", "softmax_sgd"), seeds=2, workdirs="runs", data_dir="place")
    reproduce(flags, Path("results"))
    assert [(Path(c[1]).stem, c[c.index("--seed") + 1]) for c in ran] == [
        ("cnn", "0"), ("softmax_sgd", "0"), ("cnn", "1"), ("softmax_sgd", "1"),
    ]  # fmt: skip
    assert ran[0][2:8] == ["--data", "cifar10", "--data-dir", "place", "--validation", "0"]
    assert "--resume" in ran[0]
    assert "--data-seed" not in ran[0]
    assert sorted(path.name for path in Path("results").iterdir()) == [
        "cnn_seed0.json", "cnn_seed1.json", "softmax_sgd_seed0.json", "softmax_sgd_seed1.json",
    ]  # fmt: skip
    ran.clear()
    Path("results/cnn_seed1.json").unlink()
    Path("runs/cnn_seed1/result.json").unlink()
    Path("runs/cnn_seed1").rmdir()
    reproduce(flags, Path("results"))
    assert len(ran) == 1


def test_where_few_images_are_held_out_each_seed_has_its_own(monkeypatch):
    ran = commands(monkeypatch)
    reproduce(Flags(names=("two_layer",), seeds=2, workdirs="runs"), Path("results"))
    assert [c[c.index("--data-seed") + 1] for c in ran] == ["0", "1"]


def test_the_longest_run_only_when_named(monkeypatch):
    ran = commands(monkeypatch)
    reproduce(Flags(seeds=1, workdirs="runs"), Path("results"))
    assert {Path(c[1]).stem for c in ran} == {n for n, row in ROWS.items() if not row.long}


@pytest.mark.parametrize(("status", "error"), [(2, UserError), (143, SystemExit)])
def test_a_run_that_fails_or_is_stopped_ends_it(monkeypatch, status, error):
    commands(monkeypatch, status)
    with pytest.raises(error):
        reproduce(Flags(names=("cnn",), workdirs="runs"), Path("results"))
    assert not Path("results").exists()


SLEEPER = """
import json, os, pathlib, signal, sys, time
workdir = pathlib.Path(sys.argv[sys.argv.index("--workdir") + 1])
if (workdir / "result.json").exists():
    sys.exit()

def save(number, frame):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    (workdir / "saving").touch()
    if pathlib.Path("slowly").exists():
        time.sleep(60)
    (workdir / "saved").touch()
    sys.exit(128 + number)

signal.signal(signal.SIGTERM, save)
workdir.mkdir(parents=True, exist_ok=True)
print(os.environ.get("PJRT_NPROC"))
(workdir / "begun").touch()
until = time.monotonic() + 60
while len(list(workdir.parent.glob("*/begun"))) < 2 or pathlib.Path("wait").exists():
    time.sleep(0.01)
    assert time.monotonic() < until
(workdir / "result.json").write_text(json.dumps({"seed": sys.argv[sys.argv.index("--seed") + 1]}))
"""


@pytest.fixture
def sleepers(monkeypatch):
    """Runs that end when two have begun; on a machine with six cores."""
    Path("scripts").mkdir()
    (Path("scripts") / "cnn.py").write_text(SLEEPER)
    monkeypatch.setitem(reproduce.__globals__, "EXPERIMENTS", Path("scripts"))
    monkeypatch.setattr(runtime, "threads", lambda: 6)
    monkeypatch.setitem(reproduce.__globals__, "write_table", lambda results, page: None)
    return Flags(names=("cnn",), seeds=2, at_once=2, workdirs="runs")


@pytest.mark.parametrize(("at_once", "threads"), [(2, 3), (4, 3), (9, 3)])
def test_runs_at_once_share_the_cores(sleepers, monkeypatch, at_once, threads):
    """However many were allowed, there are two."""
    monkeypatch.delenv("PJRT_NPROC", raising=False)
    reproduce(dataclasses.replace(sleepers, at_once=at_once), Path("results"))
    for seed in "01":
        assert json.loads(Path(f"results/cnn_seed{seed}.json").read_text())["seed"] == seed
        assert Path(f"runs/cnn_seed{seed}.txt").read_text() == f"{threads}\n"


def test_threads_that_the_user_has_chosen_stay(sleepers, monkeypatch):
    monkeypatch.setenv("PJRT_NPROC", "5")
    reproduce(sleepers, Path("results"))
    assert Path("runs/cnn_seed0.txt").read_text() == "5\n"


def test_more_runs_than_cores_have_one_each(sleepers, monkeypatch):
    monkeypatch.delenv("PJRT_NPROC", raising=False)
    monkeypatch.setattr(runtime, "threads", lambda: 1)
    reproduce(sleepers, Path("results"))
    assert Path("runs/cnn_seed1.txt").read_text() == "1\n"


def test_output_that_cannot_be_written_is_one_line(sleepers):
    Path("runs").touch()
    with pytest.raises(UserError, match=r"runs.cnn_seed0\.txt: "):
        reproduce(sleepers, Path("results"))


def begun() -> int:
    return len(list(Path("runs").glob("*/begun")))


@contextlib.contextmanager
def ended_by(number: int, enough: int = 2):
    """A signal to this process as soon as runs have begun; none if they never do."""

    def end():
        until = time.monotonic() + 60
        while begun() < enough and time.monotonic() < until:
            time.sleep(0.01)
        if begun() >= enough:
            os.kill(os.getpid(), number)

    ender = threading.Thread(target=end)
    ender.start()
    try:
        yield
    finally:
        ender.join()


@pytest.mark.parametrize("at_once", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_what_ends_it_ends_all_runs_and_they_save(sleepers, number, at_once):
    Path("wait").touch()
    flags = dataclasses.replace(sleepers, at_once=at_once)
    with pytest.raises(SystemExit) as caught, ended_by(number, at_once):
        reproduce(flags, Path("results"))
    assert caught.value.code == 128 + number
    assert len(list(Path("runs").glob("*/saved"))) == begun() == at_once
    assert not Path("results").exists()


def test_a_second_ctrl_c_ends_them_at_once(sleepers, monkeypatch):
    """Though they would rather save for a minute."""
    Path("wait").touch()
    Path("slowly").touch()
    processes = []
    start = reproduce.__globals__["_start"]

    def noted(*arguments):
        processes.append(start(*arguments))
        return processes[-1]

    monkeypatch.setitem(reproduce.__globals__, "_start", noted)

    def impatient():
        """When all save."""
        until = time.monotonic() + 60
        while len(list(Path("runs").glob("*/saving"))) < 2 and time.monotonic() < until:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    second = threading.Thread(target=impatient)
    second.start()
    with pytest.raises(KeyboardInterrupt), ended_by(signal.SIGINT):
        reproduce(sleepers, Path("results"))
    second.join()
    assert {process.returncode for process in processes} == {-signal.SIGKILL}


def test_one_that_fails_ends_the_others(sleepers):
    """With the place of what it said."""
    Path("wait").touch()
    (Path("scripts") / "mlp_tanh.py").write_text(
        "import pathlib, time\n"
        "while not pathlib.Path('runs/cnn_seed0/begun').exists(): time.sleep(0.01)\n"
        "raise SystemExit(2)"
    )
    flags = dataclasses.replace(sleepers, names=("cnn", "mlp_tanh"), seeds=1)
    with pytest.raises(UserError, match=r"mlp_tanh with seed 0 .* 2: runs.mlp_tanh_seed0\.txt"):
        reproduce(flags, Path("results"))
    assert Path("runs/cnn_seed0/saved").exists()


def test_an_unknown_name():
    with pytest.raises(UserError, match="no experiment 'cmn'"):
        Flags(names=("cmn",))


def test_results_hold_no_place_of_a_machine():
    for path in (ROOT / "experiments" / "results").glob("*.json"):
        text = path.read_text()
        assert not re.search(r"/(root|home|tmp|work|Users)/", text), path
        assert json.loads(text)["test_accuracy"] > 0


def test_the_page_is_made_of_the_results():
    kept = (ROOT / "experiments" / "README.md").read_text()
    _, heading, rest = kept.partition("\n## ")
    # An older table, and what stands below it.
    Path("page.md").write_text("nothing\n" + heading + rest)
    SCRIPT["write_table"](ROOT / "experiments" / "results", Path("page.md"))
    assert Path("page.md").read_text() == kept
