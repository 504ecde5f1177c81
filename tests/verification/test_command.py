import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from jaxcv import cli
from jaxcv.verification import verify as verifying
from jaxcv.verification.rows import Row

GOOD = Row("conv2d", "jit", "highest (float32)", 1.234567, 0.25)
WRONG = Row("a rather long name of an op gradient", "jit+vmap", "default", float("inf"), 2.0, "why")


@pytest.fixture
def verified(monkeypatch):
    """Replaces what is computed by rows."""
    rows, asked = [GOOD], []

    def verify(deep, report):
        asked.append(deep)
        return rows

    monkeypatch.setattr(verifying, "verify", verify)
    return rows, asked


def test_all_hold(verified, capsys):
    cli.entry(["verify"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["op", "mode", "precision", "ULP", "of", "bound"]
    assert lines[1].split() == ["conv2d", "jit", "highest", "(float32)", "1.23", "0.25", "ok"]
    assert lines[-1].startswith("1 of 1 hold, in 0 s")
    assert verified[1] == [False]


def test_one_wrong_row_is_status_one_and_says_what_to_do(verified, capsys):
    verified[0].append(WRONG)
    with pytest.raises(SystemExit) as ended:
        cli.entry(["verify"])
    assert ended.value.code == 1
    out = capsys.readouterr().out
    (line,) = [line for line in out.splitlines() if "WRONG" in line and "vmap" in line]
    assert line.startswith(WRONG.op)
    assert line.endswith("WRONG why")
    assert "1 of 2 hold, 1 WRONG" in out
    assert "XLA_FLAGS=--xla_cpu_experimental_ynn_fusion_type=" in out
    assert "\x1b" not in out


def test_a_fraction_just_above_one_is_wrong(verified):
    verified[0][:] = [GOOD._replace(fraction=1.0)]
    cli.entry(["verify"])
    verified[0][:] = [GOOD._replace(fraction=1.001)]
    with pytest.raises(SystemExit):
        cli.entry(["verify"])


def test_json(verified, capsys):
    verified[0].append(WRONG)
    with pytest.raises(SystemExit) as ended:
        cli.entry(["verify", "--json", "--deep"])
    assert ended.value.code == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["hold"], told["wrong"]) == (False, 1, 1)
    assert told["rows"][0] == {
        "op": "conv2d",
        "mode": "jit",
        "precision": "highest (float32)",
        "ulp": 1.234567,
        "fraction": 0.25,
        "note": "",
        "ok": True,
    }
    assert told["rows"][1]["ulp"] is None
    assert verified[1] == [True]


def test_an_unknown_argument_is_one_line(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.entry(["verify", "--quick"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == ("jaxcv: verify takes --json and --deep, not '--quick'\n")


def test_help(capsys):
    cli.entry(["verify", "--help"])
    assert "--deep" in capsys.readouterr().out


@pytest.mark.parametrize(("backend", "where"), [("tpu", "here"), ("cpu", "in a child")])
def test_a_device_that_serves_one_process_is_probed_by_this_one(monkeypatch, backend, where):
    monkeypatch.setattr(verifying.jax, "default_backend", lambda: backend)
    monkeypatch.setattr(verifying.probes, "measured", lambda probe: row(probe, "here"))

    def row(probe, where: str) -> Row:
        return Row(probe.what, where, "default", 0.0, 0.0)

    probes = verifying.probes.PROBES
    monkeypatch.setattr(verifying.probes, "probed", lambda name: row(probes[name], "in a child"))
    names = verifying.probe_names(False)
    with ThreadPoolExecutor(2) as pool:
        found = verifying.probe_rows(False, pool)
    assert found == [row(probes[name], where) for name in names]
