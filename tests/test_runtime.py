import os
import platform
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

from jaxcv import runtime
from jaxcv.results import num_params, params_sha256

SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]


@pytest.fixture(autouse=True)
def _nothing_ignored() -> Iterator[None]:
    """The suite itself may run in the background or under nohup, where some signals are ignored."""
    before = [signal.signal(number, signal.default_int_handler) for number in SIGNALS]
    yield
    for number, handler in zip(SIGNALS, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_noted_and_handlers_come_back(number):
    before = [signal.getsignal(n) for n in SIGNALS]
    with runtime.signals_noted() as signalled:
        assert signalled() == 0
        os.kill(os.getpid(), number)
        assert signalled() == number
    assert [signal.getsignal(n) for n in SIGNALS] == before


def test_a_second_ctrl_c_ends_at_once():
    with runtime.signals_noted():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_what_is_ignored_stays_ignored():
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with runtime.signals_noted() as signalled:
            os.kill(os.getpid(), signal.SIGHUP)
            assert signalled() == 0
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_seconds_go_by():
    first = runtime.seconds_since_start()
    time.sleep(0.05)
    assert 0.02 < runtime.seconds_since_start() - first < 5
    assert 0 < first < 1e6


def test_a_chosen_compilation_cache_is_left_alone(tmp_path):
    config: Any = jax.config
    before = config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    try:
        runtime.enable_compilation_cache()
        assert config.jax_compilation_cache_dir == str(tmp_path)
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


@pytest.fixture
def no_cache() -> Iterator[Any]:
    config: Any = jax.config
    before = config.jax_compilation_cache_dir, config.jax_persistent_cache_min_compile_time_secs
    jax.config.update("jax_compilation_cache_dir", None)
    yield config
    jax.config.update("jax_compilation_cache_dir", before[0])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", before[1])


def test_compiled_programs_are_kept_by_jaxlib_processor_and_threads(no_cache, monkeypatch):
    """Machine code for another processor, of another jaxlib, or shared out among fewer threads."""
    places = []
    for jaxlib, processor, threads in (
        ("1", "a", 2), ("2", "a", 2), ("1", "b", 2), ("1", "a", 1), ("1", "a", 2),
    ):  # fmt: skip
        monkeypatch.setattr("importlib.metadata.version", lambda name, v=jaxlib: v)
        monkeypatch.setattr(runtime, "processor", lambda p=processor: p)
        monkeypatch.setattr(runtime, "threads", lambda n=threads: n)
        jax.config.update("jax_compilation_cache_dir", None)
        runtime.set_up()
        places.append(no_cache.jax_compilation_cache_dir)
    assert len(set(places)) == 4
    assert places[0] == places[4]
    assert all(place.startswith(os.environ["XDG_CACHE_HOME"]) for place in places)


@pytest.mark.parametrize(
    ("variables", "threads"),
    [
        ({}, 4),
        ({"PJRT_NPROC": "2"}, 2),
        ({"NPROC": "3"}, 3),
        ({"PJRT_NPROC": "1", "NPROC": "3"}, 1),
        ({"PJRT_NPROC": "9"}, 4),  # no more than it may run on
        ({"PJRT_NPROC": "many"}, 4),
        ({"PJRT_NPROC": "0"}, 4),
    ],
)
def test_threads_are_those_that_xla_takes(monkeypatch, variables, threads):
    for name in ("PJRT_NPROC", "NPROC"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(4), raising=False)
    assert runtime.threads() == threads


def test_the_processor_is_told_by_its_instructions(monkeypatch):
    def told(text: str) -> str:
        monkeypatch.setattr("pathlib.Path.read_text", lambda *_: text)
        return runtime.processor()

    one = told("model name : X\nflags : sse avx\ncpu MHz : 1\n")
    assert one == told("model name : X\nflags : sse avx\ncpu MHz : 2\n")
    assert one != told("model name : X\nflags : sse avx avx512f\ncpu MHz : 1\n")
    assert one != told("model name : Y\nflags : sse avx\ncpu MHz : 1\n")


def test_the_hash_is_of_every_byte_in_a_fixed_order():
    a, b = np.arange(3, dtype=np.float32), np.ones((2, 2), np.float32)
    whole = params_sha256({"x": {"kernel": a, "bias": b}}, {})
    assert whole == params_sha256({"x": {"bias": jax.numpy.asarray(b), "kernel": a}}, {})
    touched = a.copy()
    touched[2] = np.nextafter(touched[2], np.float32(9))
    assert whole != params_sha256({"x": {"kernel": touched, "bias": b}}, {})
    assert whole != params_sha256({"x": {"kernel": a, "bias": b}}, {"mean": a})
    assert whole != params_sha256({"x": {"kernel": b, "bias": a}}, {})
    assert num_params({"x": {"kernel": a, "bias": b}}) == 7


_FAULTS = """
import ctypes, resource, sys, threading
import numpy as np
from jaxcv import runtime
PR_SET_THP_DISABLE = 41
if ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0):
    sys.exit("pages of one size cannot be had")
if "keep" in sys.argv:
    runtime.keep_freed_memory()
size = 20 * 2**20 if "large" in sys.argv else 5 * 2**20
def use():
    blocks = [np.empty(size, np.float32) for _ in range(3)]
    for block in blocks:
        block.fill(1)
for _ in range(4):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    if "thread" in sys.argv:
        thread = threading.Thread(target=use)
        thread.start()
        thread.join()
    else:
        use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def in_a_process(source: str, *arguments: str, **chosen: str) -> str:
    """What a program prints in a process of its own; of malloc the user chose only `chosen`."""
    names = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(names)}
    command = [sys.executable, "-c", source, *arguments]
    done = subprocess.run(
        command, env=environment | chosen, text=True, capture_output=True, check=False
    )
    if "cannot be had" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return done.stdout


def faults(*arguments: str, **chosen: str) -> int:
    """Pages that the kernel had to provide for three blocks that had been used before.

    Of 20 MB, or of 80 MB if they are to be "large"; used by the first thread or by a "thread".
    Nearly none or nearly all: a page at either end of a block may be in use besides.
    """
    return int(in_a_process(_FAULTS, *arguments, **chosen))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc of another C library")
def test_freed_memory_is_kept_unless_the_user_has_chosen():
    pages = 3 * 20 * 2**20 // resource.getpagesize()
    kept, anew = pages // 20, pages - pages // 20
    assert faults("keep") < kept
    chosen = {"MALLOC_MMAP_THRESHOLD_": "1000000"}
    assert faults("keep", **chosen) > anew
    assert faults(**chosen) > anew
    chosen = {"GLIBC_TUNABLES": "glibc.malloc.arena_max=2:glibc.malloc.mmap_threshold=1000000"}
    assert faults("keep", **chosen) > anew
    others = {"GLIBC_TUNABLES": "glibc.malloc.arena_max=2:glibc.cpu.x86_rep_movsb_threshold=4096"}
    assert faults("keep", **others) < kept


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc of another C library")
def test_what_a_thread_frees_is_kept_too():
    """Above 64 MB, as much as a thread's own arena holds."""
    pages = 3 * 80 * 2**20 // resource.getpagesize()
    kept, anew = pages // 20, pages - pages // 20
    assert faults("thread", "large") > anew
    assert faults("keep", "thread", "large") < kept
    chosen = {"GLIBC_TUNABLES": "glibc.malloc.arena_max=2"}
    assert faults("keep", "thread", "large", **chosen) > anew


# NumPy asks for huge pages for its own arrays, a bare buffer does not.
_FLAGS = """
import ctypes, os, resource, sys
from jaxcv import runtime
if not all(map(os.path.exists, ("/proc/self/smaps", "/sys/kernel/mm/transparent_hugepage"))):
    sys.exit("huge pages on advice cannot be had")
if (
    resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY
    or open("/proc/sys/vm/overcommit_memory").read().strip() == "2"
):
    sys.exit("addresses for nothing cannot be had")
if not ctypes.CDLL(None).mallopt(-3, 2**30):
    sys.exit("a threshold of a gigabyte cannot be had")
below = ctypes.create_string_buffer(4 * 2**20)
if "keep" in sys.argv:
    runtime.keep_freed_memory()
if "again" in sys.argv:
    runtime.keep_freed_memory()
# What borders on the top of the heap is freed: malloc then looks whether to give much back.
del below
buffers = [ctypes.create_string_buffer(20 * 2**20) for _ in range(5)]
middle = ctypes.addressof(buffers[4]) + 10 * 2**20
inside = False
for line in open("/proc/self/smaps"):
    first = line.split()[0]
    if "-" in first and not first.endswith(":"):
        start, end = (int(address, 16) for address in first.split("-"))
        inside = start <= middle < end
    elif inside and first == "VmFlags:":
        print("huge" if "hg" in line.split() else "small")
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc of another C library")
def test_arrays_are_in_huge_pages_unless_the_user_has_chosen():
    assert in_a_process(_FLAGS, "keep") == "huge\n"
    assert in_a_process(_FLAGS, "keep", "again") == "huge\n"
    assert in_a_process(_FLAGS) == "small\n"
    for choice in ("hugetlb=0", "perturb=1", "top_pad=4194304"):
        chosen = {"GLIBC_TUNABLES": f"glibc.malloc.{choice}"}
        assert in_a_process(_FLAGS, "keep", **chosen) == "small\n", choice


_ADDRESSES = """
import resource, sys
from pathlib import Path
limit = float(sys.argv[1])
if limit:
    resource.setrlimit(resource.RLIMIT_AS, (int(limit * 2**30),) * 2)
from jaxcv import runtime
runtime.keep_freed_memory()
import jaxlib.xla_client
for line in Path("/proc/self/status").read_text().splitlines():
    if line.startswith("VmHWM"):
        print(int(line.split()[1]) / 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no account of addresses")
@pytest.mark.parametrize("limit", [0, 1.2])
def test_a_gigabyte_of_addresses_is_not_a_gigabyte_of_memory(limit):
    """Nothing of it is touched, and where addresses are limited they are left for others."""
    assert float(in_a_process(_ADDRESSES, str(limit))) < 700


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (2**31, [(-3, 2**30), (-1, 2**31 - 1)]),
        (2**25, [(-3, 2**30), (-3, 2**25), (-1, 2**31 - 1)]),
        (0, [(-3, 2**30), (-3, 2**25)]),
    ],
)  # fmt: skip
def test_a_threshold_that_is_refused_leaves_the_other_alone(monkeypatch, most, expected):
    """An older glibc takes 32 MB at most."""
    asked = []

    def mallopt(parameter: int, value: int) -> int:
        asked.append((parameter, value))
        return int(value <= most)

    library = SimpleNamespace(mallopt=mallopt)
    monkeypatch.setattr("ctypes.CDLL", lambda name: library)
    runtime.keep_freed_memory()
    assert asked == [(-8, 1), *expected]
