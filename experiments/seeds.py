"""Mean and deviation over seeds of any experiment.

python experiments/seeds.py cnn --data cifar10 --seeds 5
python experiments/seeds.py runs/cnn/experiment.json

Without a name it is softmax_adam. All flags of the experiment and of `jaxcv sweep` are taken.
"""

import sys
from pathlib import Path

from jaxcv.cli import find_script
from jaxcv.exits import exits
from jaxcv.sweeps.command import run
from jaxcv.sweeps.table import named

SEEDS = 5


def measure() -> None:
    arguments = sys.argv[1:]
    target = arguments.pop(0) if arguments and not arguments[0].startswith("-") else "softmax_adam"
    script = Path(target) if target.endswith(".json") else find_script(target)
    found = run(arguments, script, f"seeds.py {target}", seeds=SEEDS)
    score = f"test_{found.trials[0].trial.experiment.loss.score.name}"
    for it in found.configurations:
        nothing = float("nan")
        mean, std = (nothing if x is None else x for x in (it.test_mean, it.test_std))
        of = f"{named(it.configuration)}: " if it.configuration else ""
        print(f"{of}{score.replace('_', ' ')} {mean:.4f} ± {std:.4f} (n = {it.n})")


if __name__ == "__main__":
    with exits("seeds.py"):
        measure()
