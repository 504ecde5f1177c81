import json
import math
import sys

import jax
import jaxlib
import pytest

from jaxcv.verification import precisions, probes
from jaxcv.verification.rows import Row

WRONG = Row("a probe", "jit+vmap", "default", math.inf, math.inf)


def child(code, timeout=20.0):
    return probes.row_of_child([sys.executable, "-c", code], WRONG, timeout)


@pytest.mark.parametrize(
    ("code", "note"),
    [
        ("import os; os.abort()", "the process died of SIGABRT"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "the process died of SIGSEGV"),
        ("raise SystemExit('no device')", "the process ended with status 1: no device"),
        ("print('{}')", "the process ended with status 0: without a word"),
        ("pass", "the process ended with status 0: without a word"),
    ],
)
def test_the_death_of_a_child_is_a_wrong_row(code, note):
    assert child(code) == WRONG._replace(note=note)


def test_a_child_that_hangs_is_a_wrong_row():
    row = child("import time; time.sleep(60)", timeout=0.5)
    assert not row.ok
    assert row.note == "no answer within 0.5 s"


def test_a_row_comes_back_from_a_child():
    told = json.dumps({"ulp": 1.0, "fraction": 0.5, "note": ""})
    row = child(f"print('chatter'); print('{told}')")
    assert row.ok
    assert row == Row("a probe", "jit+vmap", "default", 1.0, 0.5)


def test_a_child_shares_the_device_and_reads_no_cache(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--some_flag")
    environment = probes.child_environment()
    assert environment["XLA_FLAGS"] == "--some_flag"
    assert environment["JAX_ENABLE_COMPILATION_CACHE"] == "0"


@pytest.mark.parametrize("name", ["rows", "rank7", "rows255"])
def test_probes_hold_here(name):
    assert probes.measured(probes.PROBES[name]).ok


def test_a_probe_runs_in_a_process_of_its_own():
    row = probes.probed("rank7")
    assert row.ok
    assert (row.op, row.mode) == ("sum of a product of rank 7", "jit")


def test_the_probe_of_the_known_miscompilation_names_jit_and_vmap():
    assert probes.PROBES["rows"].mode == "jit+vmap"


def test_a_wrong_block_of_rows_is_found(monkeypatch):
    """What jaxlib 0.10.2 does: the last row has the value of one 32 rows before."""
    right = probes._rows_times_matrix

    def blocked(rows):
        actual, expected = right(rows)
        return jax.numpy.asarray(actual).at[-1].set(actual[-33]), expected

    probe = probes.PROBES["rows"]._replace(run=lambda: blocked(1000))
    assert not probes.measured(probe).ok


def test_no_version_is_asked_for(monkeypatch):
    for module in (jax, jaxlib, jaxlib.version):
        monkeypatch.setattr(module, "__version__", "0.10.2")
    assert probes.measured(probes.PROBES["rows"]).ok
    assert precisions.row(precisions.measure("highest")).ok


@pytest.mark.parametrize(
    ("setting", "bits", "label", "ok"),
    [
        ("highest", 23, "highest (float32)", True),
        ("highest", 10, "highest (tf32)", False),
        ("default", 10, "default (tf32)", True),
        ("default", 7, "default (bfloat16)", True),
        ("default", 5, "default (5 bits)", False),
    ],
)
def test_the_bits_of_a_factor_have_a_row(setting, bits, label, ok):
    row = precisions.row(precisions.Precision(setting, bits))
    assert (row.precision, row.ok) == (label, ok)


def test_rounded_factors_are_measured(monkeypatch):
    product = jax.numpy.matmul

    def in_bfloat16(x, y):
        rounded = jax.lax.reduce_precision(x, 8, 7)
        return product(rounded, y)

    monkeypatch.setattr(jax.numpy, "matmul", in_bfloat16)
    assert precisions.measure("default").bits == 7
