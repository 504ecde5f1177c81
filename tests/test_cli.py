import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from jaxcv import cli, runtime
from jaxcv.errors import UserError
from jaxcv.exits import Interrupted, exits

ROOT = Path(__file__).parents[1]
NAMES = ["cnn", "mlp_relu", "mlp_tanh", "softmax_adam", "softmax_sgd"]


@pytest.fixture(autouse=True)
def _no_cache_and_no_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a program does to its process stays out of the tests' one."""
    monkeypatch.setattr(runtime, "enable_compilation_cache", lambda: None)
    monkeypatch.setattr(sys, "argv", ["jaxcv"])


def status_of(*arguments: str) -> int:
    try:
        cli.entry(arguments)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line on stderr of a command that ends with status 2."""
    assert status_of(*arguments) == 2
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert len(lines) == 1, captured.err
    return lines[0]


def test_help_names_the_commands(capsys):
    assert status_of("--help") == 0
    text = capsys.readouterr().out
    assert all(command in text for command in ("list", "run", "report", "bench", "--version"))


def test_version(capsys):
    assert status_of("--version") == 0
    assert capsys.readouterr().out.startswith("jaxcv ")


def test_list_names_every_experiment_with_what_it_is(capsys):
    assert status_of("list") == 0
    lines = capsys.readouterr().out.splitlines()
    names = [line.split()[0] for line in lines]
    assert names == sorted(names) == [path.stem for path in cli.scripts()]
    assert set(NAMES) <= set(names)
    assert all(len(line.split()) > 3 for line in lines)


def test_list_prefers_the_folder_here(capsys):
    Path("experiments").mkdir()
    Path("experiments/mine.py").write_text('"""My own.\n\nMore."""\nraise SystemExit("ran")\n')
    assert status_of("list") == 0
    assert capsys.readouterr().out == "mine  My own.\n"


@pytest.mark.parametrize("command", ["list", "run", "inspect", "report"])
def test_every_command_has_help(capsys, command):
    assert status_of(command, "--help") == 0
    assert f"usage: jaxcv {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lisst"], ["unknown command 'lisst'", "did you mean list?"]),
        (["frobnicate"], ["unknown command 'frobnicate'", "list, run, sweep, report"]),
        (["--frobnicate"], ["--frobnicate"]),
        (["list", "more"], ["list takes no arguments", "'more'"]),
        (["run", "cmn"], ["no experiment 'cmn'", "did you mean cnn?"]),
        (["run", "zzz"], ["no experiment 'zzz'", "jaxcv list"]),
        (["run", "nowhere/zzz.py"], ["nowhere/zzz.py", "no such script"]),
        (["run", "zzz.json"], ["zzz.json", "no such file"]),
        (["run", "../jaxcv/cli"], ["no experiment"]),
        (["run", "cnn", "--epocs", "3"], ["--epocs", "did you mean --epochs?"]),
        (["run", "cnn", "--epochs", "-1"], ["--epochs", "at least 1", "-1"]),
        (["run", "cnn", "--batch-size", "9999"], ["--batch-size 9999", "1294"]),
        (["run", "cnn", "--data", "cifar10", "--data-dir", "nowhere"], ["nowhere"]),
        (["run", "cnn", "--workdir", "w" * 300], ["w" * 300]),
        (["inspect"], ["inspect takes one network"]),
        (["inspect", "cnn", "mlp_relu"], ["inspect takes one network"]),
        (["inspect", "cnm"], ["no network 'cnm'", "did you mean cnn?"]),
        (["inspect", "resnet21"], ["resnet21", "6n + 2"]),
        (["inspect", "cnn", "--input", "8,8"], ["--input", "32,32,3", "'8,8'"]),
        (["inspect", "challenge", "--input", "1,1,1"], ["challenge takes no images of 1×1×1"]),
        (["inspect", "cnn", "--jsn"], ["--jsn", "did you mean --json?"]),
        (["report"], ["report takes one workdir"]),
        (["report", "a", "b"], ["report takes one workdir"]),
        (["report", "nowhere"], ["nowhere"]),
    ],
)
def test_what_is_wrong_is_one_line(capsys, arguments, said):
    line = refused(capsys, *arguments)
    assert all(word in line for word in said), line


@pytest.mark.parametrize("arguments", [["inspect", "cnn"], ["verify"]])
def test_a_missing_device_is_one_line(capsys, monkeypatch, arguments):
    def missing():
        raise AssertionError  # as jax 0.9 does

    monkeypatch.setattr(jax, "devices", missing)
    assert "asks for a device that is not here" in refused(capsys, *arguments)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not valid JSON"),
        (b"[1]", "object"),
        (b"\xff\xfe\x00", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"{}", "missing"),
        (b'{"model": {"type": "os.system"}}', "missing"),
    ],
)
def test_a_bad_saved_experiment_is_one_line(capsys, content, said):
    Path("experiment.json").write_bytes(content)
    assert said in refused(capsys, "run", "experiment.json")


def test_run_needs_an_experiment(capsys):
    assert status_of("run") == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("target", ["cnn", str(ROOT / "experiments" / "cnn.py")])
def test_an_experiments_help_lists_its_flags(capsys, monkeypatch, target):
    monkeypatch.setenv("COLUMNS", "200")
    assert status_of("run", target, "--help") == 0
    text = capsys.readouterr().out
    flags = ("features", "learning-rate", "data", "data-dir", "data-seed", "validation", "epochs",
             "batch-size", "seed", "workdir", "resume", "precision")  # fmt: skip
    assert all(f"--{flag}" in text for flag in flags)
    assert "Two 3×3 convolutions" in text


def test_a_saved_experiment_runs_again(capsys):
    """And its result is the same: experiment.json is enough."""
    from jaxcv.files import read_json

    first = ("run", "softmax_sgd", "--epochs", "1", "--workdir", "one", "--seed", "3")
    assert status_of(*first) == 0
    assert status_of("run", "one/experiment.json", "--workdir", "two") == 0
    one, two = (read_json(Path(name) / "result.json") for name in ("one", "two"))
    assert one["params_sha256"] == two["params_sha256"]
    assert (one["experiment"], two["seed"], two["epochs"]) == ("softmax_sgd", 3, 1)
    # The same command again: finished, and nothing changes.
    before = {p: p.stat().st_mtime_ns for p in Path("one").rglob("*")}
    capsys.readouterr()
    assert status_of(*first) == 0
    assert "finished" in capsys.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in Path("one").rglob("*")} == before
    # Its page is made again.
    Path("one/report.html").unlink()
    assert status_of("report", "one") == 0
    assert Path("one/report.html").exists()
    # Another experiment in it: refused.
    line = refused(capsys, *first[:-1], "4")
    assert "seed" in line
    assert "--workdir" in line


# --- inspect ------------------------------------------------------------------------------------


def test_inspect_prints_a_row_a_layer(capsys):
    assert status_of("inspect", "cnn_global_pool") == 0
    text = capsys.readouterr().out
    assert "15×15" in text
    assert "76,298" in text
    assert "ConvBatchNorm_2/BatchNorm_0" in text


def test_inspect_as_json(capsys):
    import json

    assert status_of("inspect", "--json", "--input", "8,8,1", "CNN") == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["model"], record["input"]) == ("CNN", [8, 8, 1])
    assert [layer["receptive_field"] for layer in record["layers"]][:2] == [[3, 3], [4, 4]]
    assert record["parameters"] == sum(layer["parameters"] for layer in record["layers"])


# --- exit statuses ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (UserError("wrong\nthing"), 2, "prog: wrong thing\n"),
        (Interrupted(15, "stopped at step 3"), 143, "prog: stopped at step 3\n"),
        (Interrupted(2, "stopped at step 3"), 130, "prog: stopped at step 3\n"),
        (KeyboardInterrupt(), 130, "prog: interrupted\n"),
    ],
)
def test_exit_statuses(capsys, error, status, said):
    with pytest.raises(SystemExit) as end, exits("prog"):
        raise error
    assert end.value.code == status
    assert capsys.readouterr().err == said


def test_a_closed_stdout_is_no_defect(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with exits("x"):
        assert not sys.stdout.isatty()
        sys.stdout.close()


def test_a_defect_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError), exits("prog"):
        _ = 1 / 0


# --- light to start -----------------------------------------------------------------------------


def test_the_program_starts_without_jax():
    """`jaxcv`, its help, its list and its mistakes, and `jaxcv.reference`, import no JAX."""
    code = """
import sys
import jaxcv, jaxcv.reference
from jaxcv.cli import entry
for arguments in (["--help"], ["list"], ["run", "--help"], ["lisst"], ["run", "cmn"]):
    try:
        entry(arguments)
    except SystemExit:
        pass
heavy = {"jax", "jaxlib", "flax", "optax", "matplotlib", "sklearn", "tyro", "tensorflow_datasets"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr


def test_a_page_that_cannot_be_written_is_one_line(capsys, tmp_path):
    (tmp_path / "experiment.json").write_text('{"name": "it"}')
    (tmp_path / "report.html").mkdir()
    assert "cannot write in" in refused(capsys, "report", str(tmp_path))
