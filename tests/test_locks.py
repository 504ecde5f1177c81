import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jaxcv import locks
from jaxcv.errors import UserError
from jaxcv.locks import locked

ROOT = Path(__file__).parents[1]
HOLDER = """
import sys, time
from pathlib import Path
from jaxcv.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(1000)
"""


def assert_refused(directory: Path) -> None:
    with pytest.raises(UserError, match="another process is writing") as caught, locked(directory):
        pass
    assert str(directory) in str(caught.value)


def test_a_lock_excludes_and_leaves_nothing(tmp_path):
    directory = tmp_path / "new" / "run"
    with locked(directory):
        assert_refused(directory)
        assert_refused(directory)
        with locked(tmp_path / "other"):
            pass
    with locked(directory):
        pass
    assert list(directory.iterdir()) == []


def test_an_error_inside_lets_go(tmp_path):
    with pytest.raises(ValueError, match="inside"), locked(tmp_path):
        raise ValueError("inside")
    with locked(tmp_path):
        pass


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_dead_process_holds_nothing(tmp_path, number):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert holder.stdout is not None
    with holder.stdout:
        assert holder.stdout.readline() == "held\n"
        assert_refused(tmp_path)
        holder.send_signal(number)
        holder.wait()
    assert (tmp_path / locks.NAME).exists()  # what stays of it locks nothing
    with locked(tmp_path):
        pass


def test_at_any_time_one_at_most(tmp_path):
    """Also while files of the same name come and go."""
    inside, most, entered = 0, 0, 0
    guard = threading.Lock()

    def contend(_: int) -> None:
        nonlocal inside, most, entered
        for _ in range(300):
            try:
                with locked(tmp_path):
                    with guard:
                        inside += 1
                        entered += 1
                        most = max(most, inside)
                    with guard:
                        inside -= 1
            except UserError:
                pass

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(contend, range(4)))
    assert most == 1
    assert entered >= 10


def test_a_link_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / locks.NAME).symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"), locked(tmp_path / "run"):
        pass
    assert victim.read_text() == "precious"
