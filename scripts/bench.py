"""How fast training is here, beside Keras, PyTorch and plain Flax: `jaxcv bench` as a script.

    python scripts/bench.py --networks cnn resnet20 --rounds 20
    make bench

It makes the peers' virtual environments below its output, runs/bench, from PyPI.
"""

import sys

from jaxcv.benchmarks.command import run
from jaxcv.exits import exits

if __name__ == "__main__":
    with exits("bench.py"):
        run(sys.argv[1:], "bench.py")
