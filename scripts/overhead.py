"""How much of a sweep's wall time goes elsewhere than into compiled programs.

    python scripts/overhead.py                           # 200 trials of softmax regression
    python scripts/overhead.py --trials 50 --epochs 300

A sweep of softmax_adam on the digits over random learning rates, as `jaxcv sweep` trains it on this
machine. What counts is everything but training and evaluating an epoch: compiling, choosing, files,
the study's database, the table and the page.
"""

import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from jaxcv import Adam, Experiment, Span, models, runtime, sweep
from jaxcv.constraints import Count, check
from jaxcv.exits import exits
from jaxcv.experiment import field_hints
from jaxcv.flags import parse
from jaxcv.sweeps.executors import Ended, Local
from jaxcv.sweeps.records import Finished
from jaxcv.sweeps.sweep import LANES
from jaxcv.sweeps.trainer import Trainer
from jaxcv.sweeps.trials import Trial


@dataclasses.dataclass(frozen=True)
class Flags:
    """What is measured.

    Attributes:
        trials: of the sweep
        epochs: of each
    """

    trials: Count = 200
    epochs: Count = 30

    def __post_init__(self):
        for name in ("trials", "epochs"):
            check(name, getattr(self, name), field_hints(Flags)[name])


class Timed(Local):
    """Trains in this process, and adds up the seconds inside of compiled programs."""

    def __init__(self):
        super().__init__(Trainer("auto", LANES), LANES)
        self.busy = 0.0

    def run(
        self,
        trials: Sequence[Trial],
        finished: Mapping[int, Finished],
        signalled: Callable[[], int],
    ) -> Iterator[Ended]:
        """As `Local` does."""
        for trial, outcome, facts in super().run(trials, finished, signalled):
            self.busy += outcome.busy
            yield trial, outcome, facts


def main() -> None:
    """Measures one sweep."""
    flags = parse(Flags, sys.argv[1:], "overhead.py", __doc__ or "")
    runtime.set_up()
    executor = Timed()
    experiment = Experiment(models.Softmax(), Adam(), epochs=flags.epochs)
    rates = {"learning_rate": Span(1e-4, 1e-1, log=True)}
    with tempfile.TemporaryDirectory(prefix="jaxcv-overhead-") as directory:
        began = time.perf_counter()
        sweep(experiment, rates, directory, trials=flags.trials, executor=executor)
        seconds = time.perf_counter() - began
    print(
        f"{seconds:.1f} s, {executor.busy:.1f} s of them in compiled programs: "
        f"{1 - executor.busy / seconds:.1%} elsewhere"
    )


if __name__ == "__main__":
    with exits("overhead.py"):
        main()
