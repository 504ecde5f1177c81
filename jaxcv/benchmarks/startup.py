"""How long it takes until something happens: help texts, and the first step of a deep network."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxcv.benchmarks.rounds import spread
from jaxcv.errors import UserError

YARDSTICK = 'python -c "import jax, flax"'

_SCRIPT = """
from jaxcv import Adam, Experiment, main, models
main(Experiment(model=models.CNN(), optimizer=Adam(1e-3)), ["--help"])
"""

# A script's own way up to the first chunk, which is one step long: then `fit` asks for signals.
_FIRST_STEP = """
import sys
from jaxcv import Adam, Experiment, models, runtime
runtime.set_up()
from jaxcv.fitting import fit

def signalled():
    raise KeyboardInterrupt

try:
    fit(Experiment(model=models.ResNet(depth=56), optimizer=Adam(1e-3)),
        sys.argv[1], verify=False, signalled=signalled)
except KeyboardInterrupt:
    pass
"""

COMMANDS: dict[str, list[str]] = {
    YARDSTICK: ["-c", "import jax, flax"],
    "jaxcv --help": ["-m", "jaxcv", "--help"],
    "jaxcv list": ["-m", "jaxcv", "list"],
    "an experiment's --help": ["-c", _SCRIPT],
}


def measure(rounds: int, deep_rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Seconds of each command and its ratio to the yardstick's, by pairs.

    Args:
        rounds: of the commands, in turn.
        deep_rounds: of ResNet-56 with an empty and then a filled compilation cache.
        say: is told what goes on.
    """
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for number in range(rounds):
        say(f"start-up, round {number + 1} of {rounds}")
        for name, arguments in COMMANDS.items():
            seconds[name].append(_seconds(arguments))
    figures = {name: _row(values, seconds[YARDSTICK]) for name, values in seconds.items()}
    figures[YARDSTICK]["ratio"] = None
    first, second = [], []
    for number in range(deep_rounds):
        say(f"ResNet-56 to its first step, round {number + 1} of {deep_rounds}")
        with tempfile.TemporaryDirectory() as place:
            for values, workdir in ((first, "first"), (second, "second")):
                variables = {"XDG_CACHE_HOME": place}
                arguments = ["-c", _FIRST_STEP, str(Path(place) / workdir)]
                values.append(_seconds(arguments, variables))
    if deep_rounds:
        figures["ResNet-56 to its first step, first start"] = _row(first, None)
        figures["ResNet-56 to its first step, second start ÷ first"] = _row(second, first)
    return figures


def _row(values: Sequence[float], yardstick: Sequence[float] | None) -> dict[str, Any]:
    ratio = None
    if yardstick is not None:
        ratio = statistics.median(a / b for a, b in zip(values, yardstick, strict=True))
    return {"seconds": spread(values), "samples": list(values), "ratio": ratio}


def _seconds(arguments: Sequence[str], variables: Mapping[str, str] | None = None) -> float:
    environment = os.environ | dict(variables or {})
    # A cache that the user chose would be no first start.
    for name in ("JAX_COMPILATION_CACHE_DIR", "TF_CPP_MIN_LOG_LEVEL"):
        environment.pop(name, None)
    start = time.perf_counter()
    outcome = subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True
    )
    taken = time.perf_counter() - start
    if outcome.returncode:
        last = (outcome.stderr.strip().splitlines() or ["nothing said"])[-1]
        raise UserError(f"python {' '.join(arguments)[:60]}... failed: {last}")
    return taken
