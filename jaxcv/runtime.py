"""The process around a run: signals, the compilation cache, and what it runs on."""

import contextlib
import ctypes
import hashlib
import mmap
import os
import platform
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from jaxcv import peers
from jaxcv.errors import UserError

_IMPORTED = time.time()
# Of mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_MAPPED_BYTES = 2**30
_TRIMMED_BYTES = 2**31 - 1
# Less than what malloc maps apart, and far from what it trims: it stays on the heap.
_HUGE_BYTES = _MAPPED_BYTES - 2**21


@contextlib.contextmanager
def signals_noted() -> Iterator[Callable[[], int]]:
    """While inside, SIGTERM, Ctrl-C and a closed terminal are only noted: the run saves first.

    Yields:
        A function that tells the number of the signal received; 0 when none was. A second
        Ctrl-C raises KeyboardInterrupt at once.
    """
    received = [0]

    def note(number: int, frame: FrameType | None) -> None:
        if received[0] == number == signal.SIGINT:
            raise KeyboardInterrupt
        received[0] = number

    # What is ignored stays ignored: that is how nohup and a shell's background jobs live on.
    numbers = [
        number
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN
    ]
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield lambda: received[0]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def seconds_since_start() -> float:
    """Seconds since this process started; since jaxcv was imported where that is not told."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        uptime = float(Path("/proc/uptime").read_text().split()[0])
        return uptime - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return time.time() - _IMPORTED


def set_up() -> None:
    """What a process that trains needs; called before JAX runs anything.

    Raises:
        UserError: there is no such device as JAX_PLATFORMS asks for, or the other processes of
            the run are not to be found.
    """
    keep_freed_memory()
    enable_compilation_cache()
    peers.join()
    require_device()


def keep_freed_memory() -> None:
    """Lets malloc keep the memory of freed arrays for the next ones, on glibc.

    It gives large blocks back to the kernel as soon as they are free. Every chunk then has its
    buffers mapped and zeroed anew, page by page: a third of the time where a chunk is one step on
    all images, or on a batch of a convolutional network. Blocks of a gigabyte and more are given
    back all the same, and so is what is free beyond two. Threads share one arena, since in one of
    their own they keep nothing above 64 MB, and XLA allocates what a program needs on a thread of
    its pool. The first gigabyte is of huge pages where Linux has them for the asking. Thresholds,
    arenas and pages that the user chose, by GLIBC_TUNABLES or MALLOC_..., are left alone.
    """
    chosen = " ".join([os.environ.get("GLIBC_TUNABLES", ""), *os.environ]).lower()
    settings = [word for word in re.split("[ :]", chosen) if "malloc" in word]
    if any("threshold" in word for word in settings):
        return
    with contextlib.suppress(OSError, AttributeError, TypeError):  # another C library
        library = ctypes.CDLL(None)
        if not any("arena" in word for word in settings):
            library.mallopt(_M_ARENA_MAX, 1)
        if library.mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES):
            library.mallopt(_M_TRIM_THRESHOLD, _TRIMMED_BYTES)
            # Padding would be trimmed to, a perturbed block be written to.
            if not any(re.search("hugetlb|top_pad|perturb", word) for word in settings):
                _ask_for_huge_pages(library)
        # An older glibc takes 32 MB at most. The second alone would do harm: it ends glibc's own
        # adaptation of the first.
        elif library.mallopt(_M_MMAP_THRESHOLD, 2**25):
            library.mallopt(_M_TRIM_THRESHOLD, _TRIMMED_BYTES)


def _ask_for_huge_pages(library: ctypes.CDLL) -> None:
    """Has the heap grow by a gigabyte that the kernel may back with huge pages; touches none of it.

    What GLIBC_TUNABLES=glibc.malloc.hugetlb=1 does for all of the heap can only be had before the
    process starts. Here a block is allocated, the kernel advised on it, and the block freed again:
    malloc keeps it and hands out parts of it from then on. Nothing is done where addresses are
    rationed, or where malloc may be another than glibc's.

    Raises:
        AttributeError, OSError: a system without huge pages on advice.
    """
    import resource

    advice = mmap.MADV_HUGEPAGE
    if (
        "LD_PRELOAD" in os.environ
        or resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY
        or Path("/proc/sys/vm/overcommit_memory").read_text().strip() == "2"
    ):
        return
    library.malloc.restype = ctypes.c_void_p
    block = library.malloc(ctypes.c_size_t(_HUGE_BYTES))
    if block is None:  # another limit
        return
    start = -(-block // mmap.PAGESIZE) * mmap.PAGESIZE
    size = (block + _HUGE_BYTES - start) // mmap.PAGESIZE * mmap.PAGESIZE
    library.madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), advice)
    library.free(ctypes.c_void_p(block))


def require_device() -> None:
    """Looks for a device to compute on.

    Raises:
        UserError: there is none of the kinds that JAX_PLATFORMS asks for.
    """
    import jax

    try:
        jax.devices()
    # The assertion is how jax 0.9 says that it was built without the kind asked for.
    except (RuntimeError, AssertionError) as error:
        lost = peers.loss(error)
        if lost is not None:  # they tell each other of their devices
            raise lost from None
        wanted = jax.config.values["jax_platforms"]
        raise UserError(
            f"JAX_PLATFORMS={wanted} asks for a device that is not here"
            f"{f' ({error})' if str(error) else ''}; "
            "JAX_PLATFORMS=cpu computes on the processor"
        ) from None


def enable_compilation_cache() -> None:
    """Keeps compiled programs in the user's cache directory, for the next process.

    The directory is named by the version of jaxlib and by the processor, since machine code made
    for another has crashed programs, and by the number of threads, for which XLA:CPU shares out a
    program when it is compiled. A directory that the user chose (JAX_COMPILATION_CACHE_DIR)
    or a cache that they turned off (JAX_ENABLE_COMPILATION_CACHE=0) is left alone.
    """
    from importlib.metadata import version

    import jax
    import platformdirs

    if jax.config.values["jax_compilation_cache_dir"] is not None:
        return
    directory = (
        Path(platformdirs.user_cache_dir("jaxcv"))
        / "compiled"
        / f"jaxlib-{version('jaxlib')}-{processor()}-threads-{threads()}"
    )
    jax.config.update("jax_compilation_cache_dir", str(directory))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


THREADS = "PJRT_NPROC"
"""The variable that tells XLA how many threads it may compute with on a CPU."""


def threads() -> int:
    """How many threads XLA computes with on this CPU: as many as the process may run on at most."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux has it
    most = len(affinity(0)) if affinity else os.cpu_count() or 1
    chosen = os.environ.get(THREADS) or os.environ.get("NPROC") or ""
    return min(most, int(chosen)) if chosen.isdecimal() and int(chosen) > 0 else most


def processor() -> str:
    """A short name of this processor's model and instruction set."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        told = sorted({line for line in lines if line.startswith(("model name", "flags"))})
        if told:
            return hashlib.sha256("\n".join(told).encode()).hexdigest()[:12]
    return hashlib.sha256(f"{platform.processor()}{platform.machine()}".encode()).hexdigest()[:12]


def versions() -> dict[str, str]:
    """Versions of what decides the numbers."""
    from importlib.metadata import version

    names = ("jax", "jaxlib", "flax", "optax", "jaxcv")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}
