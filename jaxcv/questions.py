"""What the scripts share that answer a question: flags, runs of several variants, a picture.

Each variant is an experiment of its own, trained by `fit` in a directory of its own below the
script's workdir: an interrupted script goes on where it stopped.
"""

import dataclasses
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxcv import runtime
from jaxcv.constraints import Count, Index, check
from jaxcv.data import Dataset
from jaxcv.data import load as load_data
from jaxcv.errors import Diverged
from jaxcv.exits import exits
from jaxcv.experiment import Experiment, field_hints
from jaxcv.files import unwritable
from jaxcv.logs import read_metrics
from jaxcv.peers import require_alone
from jaxcv.plots import save
from jaxcv.script import RunFlags, run, running_script
from jaxcv.workdirs import Workdir

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Flags:
    """What every question can be asked with.

    Attributes:
        data: digits, cifar10 or tfds:NAME
        data_dir: where the data lie
        data_seed: which images are held out for validation
        validation: images held out of training
        epochs: passes over the training images, where anything is trained
        seed: of whatever is random
        workdir: where the picture and the runs go; default runs/NAME
        verify: before the first training on a backend, check that it computes what it should
    """

    data: str = "digits"
    data_dir: str | None = None
    data_seed: Index = 0
    validation: Index | None = None
    epochs: Count = 5
    seed: Index = 0
    workdir: str | None = None
    verify: bool = True

    def __post_init__(self):
        for field in dataclasses.fields(self):
            check(field.name, getattr(self, field.name), field_hints(Flags)[field.name])

    @property
    def path(self) -> Path:
        """The workdir."""
        return Path(self.workdir or f"runs/{running_script()[0].stem}")

    def dataset(self) -> Dataset:
        """The data that the flags name."""
        return load_data(self.data, self.data_dir, self.data_seed, self.validation)

    def show(self, figure: "Figure") -> None:
        """Saves the script's picture and says where."""
        path = self.path / f"{running_script()[0].stem}.png"
        try:
            save(figure, path)
        except OSError as error:
            raise unwritable(self.path, error) from None
        print(f"picture: {path}")


class Outcome(NamedTuple):
    """A variant's run.

    Attributes:
        workdir: where it lies.
        record: the fields of result.json; None if training diverged.
        metrics: a record an epoch.
    """

    workdir: Path
    record: dict[str, Any] | None
    metrics: list[dict[str, Any]]

    @property
    def accuracy(self) -> float:
        """On the validation images, of the test images where none are held out; NaN if diverged."""
        if self.record is None:
            return float("nan")
        held_out = self.record["val_accuracy"]
        return self.record["test_accuracy"] if held_out is None else held_out


def ask(
    answer: Callable[[Flags], None], epochs: int = 5, arguments: Sequence[str] | None = None
) -> None:
    """A question script's whole program: flags, the answer, exit status.

    Args:
        answer: computes, prints and draws.
        epochs: default of --epochs.
        arguments: the command line without the program's name; default sys.argv.
    """
    from jaxcv.flags import parse

    path, text = running_script()
    with exits(path.name):
        cls = dataclasses.make_dataclass(
            "Flags",
            [("epochs", Count, dataclasses.field(default=epochs))],
            bases=(Flags,),
            frozen=True,
        )
        cls.__doc__ = Flags.__doc__
        flags = parse(cls, sys.argv[1:] if arguments is None else arguments, path.name, text)
        require_alone("this script")
        runtime.set_up()
        answer(flags)


def train(variants: Mapping[str, Experiment], flags: Flags) -> dict[str, Outcome]:
    """Trains each variant, or takes the run that is there, and prints how well it does.

    A variant whose training diverges has no record; the others are trained all the same.
    """
    outcomes = {}
    for name, variant in variants.items():
        slug = re.sub(r"\W+", "_", name).strip("_")
        experiment = dataclasses.replace(
            variant,
            name=slug,
            data=flags.data,
            data_dir=flags.data_dir,
            data_seed=flags.data_seed,
            validation=flags.validation,
            epochs=flags.epochs,
            seed=flags.seed + variant.seed,
        )
        workdir = flags.path / slug
        print(f"{name}:")
        try:
            result = run(experiment, RunFlags(str(workdir), resume=True, verify=flags.verify))
        except Diverged as error:
            print(f"  {error}")
            record = None
        else:
            record = result.record
        outcomes[name] = Outcome(workdir, record, read_metrics(Workdir(workdir).metrics))
    width = max(map(len, outcomes))
    print()
    for name, outcome in outcomes.items():
        print(f"{name:<{width}}  {outcome.accuracy:.4f}")
    return outcomes
