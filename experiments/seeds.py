"""Mean and deviation over seeds of any experiment.

python experiments/seeds.py cnn --data cifar10 --seeds 5
python experiments/seeds.py runs/cnn/experiment.json

Without a name it is softmax_adam. All flags of the experiment and of `jaxcv sweep` are taken.
"""

import statistics
import sys
from pathlib import Path

from jaxcv.cli import find_script
from jaxcv.exits import exits
from jaxcv.sweeps.command import run

SEEDS = 5


def measure() -> None:
    arguments = sys.argv[1:]
    target = arguments.pop(0) if arguments and not arguments[0].startswith("-") else "softmax_adam"
    script = Path(target) if target.endswith(".json") else find_script(target)
    found = run(arguments, script, f"seeds.py {target}", seeds=SEEDS)
    score = f"test_{found.trials[0].trial.experiment.loss.score.name}"
    known = [one.record[score] for one in found.trials if one.score is not None]
    std = statistics.stdev(known) if len(known) > 1 else float("nan")
    mean = statistics.fmean(known) if known else float("nan")
    print(f"{score.replace('_', ' ')} {mean:.4f} ± {std:.4f} (n = {len(known)})")


if __name__ == "__main__":
    with exits("seeds.py"):
        measure()
