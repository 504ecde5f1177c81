"""What scripts/reproduce.py runs, and the table of experiments/README.md that it fills.

A row an experiment: the flags it is measured with, and what others state beside which it stands.
"""

import dataclasses
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxcv.files import read_json, write_bytes

ALL = ("--validation", "0")
NOTEBOOK = ("--validation", "1000")
# Of schedules of hundreds of epochs: as much as an hour allows on one core.
_BRIEF = ("--epochs", "3", "--boundaries", "2", "2.5")


@dataclasses.dataclass(frozen=True)
class Row:
    """An experiment as it is measured.

    Attributes:
        flags: beside data, seed and workdir; what they leave out is the script's.
        full_epochs: of the source, where the measured run is shorter.
        printed: what the source document prints.
        keras: test accuracy of Keras 3.15 on TensorFlow with these settings, one seed.
        paper: what the network's paper states.
        long: most of an hour or hours: run only when it is named.
    """

    flags: tuple[str, ...] = ALL
    full_epochs: int | None = None
    printed: str = ""
    keras: str = ""
    paper: str = ""
    long: bool = False


ROWS: dict[str, Row] = {
    "softmax_sgd": Row(keras="41.1"),
    "softmax_adam": Row(keras="41.4"),
    "mlp_tanh": Row(keras="51.8"),
    "mlp_relu": Row(keras="53.2"),
    "cnn": Row(keras="69.2"),
    "cnn_batchnorm": Row(keras="69.2"),
    "cnn_strides": Row(keras="64.0"),
    "cnn_global_pool": Row(keras="65.1 (BN with scale)"),
    "two_layer": Row(NOTEBOOK, printed="44.2 to 46.0 (validation)"),
    "three_layer_sgd": Row(NOTEBOOK, printed="45.7 (validation)"),
    "three_layer_nesterov": Row(NOTEBOOK, printed="50.2 (validation)"),
    "conv_pool": Row(NOTEBOOK, printed="49.9 (validation)"),
    "challenge": Row(NOTEBOOK, printed="67.1, 69.4 at best (validation)"),
    "resnet9": Row(NOTEBOOK, printed="70 asked for (validation)"),
    "resnet20_short": Row(paper="91.25 (164 epochs)", long=True),
    "resnet20": Row(paper="91.25 (164 epochs)", long=True),
    "resnet56": Row(
        (*ALL, *_BRIEF),
        full_epochs=150,
        printed="about 92",
        paper="93.03 (164 epochs)",
        long=True,
    ),
    "cifar10_94": Row((), paper="94 (9.9 epochs)"),
    "resnet_stacks": Row(_BRIEF, full_epochs=200, printed="92.13", long=True),
    "densenet": Row(
        (*ALL, *_BRIEF),
        full_epochs=300,
        paper="94.76 (depth 40)",
        long=True,
    ),
}


_HEADER = """# What the experiments reach

Accuracies in percent on CIFAR-10, mean ± standard deviation over n seeds, of the parameters after
the last epoch (of the best on validation where a script stops early). Made by
`python scripts/reproduce.py` from the files in `results/`; each is a run's `result.json`. "Printed"
is what the documents print from which the experiment is taken, "Keras" the test accuracy of Keras
3.15 on TensorFlow with the same settings and images (one seed, last epoch), "paper" what the
network's paper states. With `--validation 1000` each seed holds out images of its own, the seed
being the `--data-seed` too: the deviation is of both. What `cifar10_94` reaches is of six views of
each test image, the others' of the image alone. Images/s are the fastest run's, on a machine that
did other work beside: a lower bound.

"""


def write_table(results: Path, page: Path) -> None:
    """Writes the page anew from the results; its further sections, from "## " on, stay."""
    records: dict[str, list[dict[str, Any]]] = {name: [] for name in ROWS}
    for path in sorted(results.glob("*.json")):
        name = path.stem.rpartition("_seed")[0]
        if name in records:
            records[name].append(read_json(path))
    old = page.read_text(encoding="utf-8") if page.is_file() else ""
    _, heading, rest = old.partition("\n## ")
    write_bytes(page, (_HEADER + table(records) + heading + rest).encode())


def table(records: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """A line of Markdown for each experiment, and the command that it stands for."""
    head = (
        "experiment", "epochs", "parameters", "n", "test accuracy", "validation accuracy",
        "images/s", "printed", "Keras", "paper", "flags",
    )  # fmt: skip
    lines = [head, ("---",) * len(head)]
    for name, found in records.items():
        row = ROWS[name]
        flags = f"`{' '.join(row.flags)}`" if row.flags else ""
        known = (row.printed, row.keras, row.paper, flags)
        if found:
            epochs = _range(record["epochs"] for record in found)
            measured = (
                f"{epochs} of {row.full_epochs}" if row.full_epochs else epochs,
                f"{found[0]['num_params']:,}",
                str(len(found)),
                percent(record["test_accuracy"] for record in found),
                percent(record["val_accuracy"] for record in found),
                f"{max(record['images_per_second'] or 0 for record in found):,.0f}",
            )
        else:
            measured = ("", "", "0", "not run", "", "")
        lines.append((f"`{name}`", *measured, *known))
    machines = sorted({_machine(record) for found in records.values() for record in found})
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
    return text + (f"\nMeasured with {'; '.join(machines)}.\n" if machines else "")


def percent(values: Iterable[float | None]) -> str:
    """Mean and sample standard deviation in percent; nothing where no images were held out."""
    known = [100 * value for value in values if value is not None]
    if not known:
        return ""
    spread = f" ± {statistics.stdev(known):.2f}" if len(known) > 1 else ""
    return f"{statistics.mean(known):.2f}{spread}"


def _range(values: Iterable[int]) -> str:
    """One number, or the least and the greatest."""
    known = sorted(set(values))
    return f"{known[0]:,}" if len(known) == 1 else f"{known[0]:,} to {known[-1]:,}"


def _machine(record: Mapping[str, Any]) -> str:
    versions = record["versions"]
    shown = ", ".join(f"{name} {versions[name]}" for name in ("jax", "flax", "optax", "jaxcv"))
    return f"{shown} on {record['device']}"
