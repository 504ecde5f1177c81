"""The files of a trial: its experiment, its lines, its parameters and, last, its result."""

import dataclasses
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

from jaxcv.constraints import check
from jaxcv.errors import UserError
from jaxcv.experiment import Experiment, flat_settings
from jaxcv.experiment_json import differences, from_json, to_json
from jaxcv.files import read_json, remove_leftovers, write_bytes, write_json
from jaxcv.logs import read_metrics
from jaxcv.parameters import Parameters
from jaxcv.parts import PART_TYPES
from jaxcv.sweeps.lanes import Outcome
from jaxcv.sweeps.trials import Trial
from jaxcv.workdirs import FREE, Workdir


@dataclasses.dataclass(frozen=True)
class Finished:
    """A trial that is done.

    Attributes:
        trial: which.
        workdir: where its files are.
        record: the fields of result.json.
    """

    trial: Trial
    workdir: Workdir
    record: Mapping[str, Any]

    @property
    def diverged(self) -> bool:
        """Whether training left the finite numbers."""
        return self.record.get("status") == "diverged"

    @property
    def pruned(self) -> bool:
        """Whether it was given up before its end."""
        return self.record.get("status") == "pruned"

    @property
    def reached(self) -> float | None:
        """Its score: on the validation images, on the test images without any.

        None where it diverged.
        """
        name = self.trial.experiment.loss.score.name
        held_out = self.record.get(f"val_{name}")
        score = self.tested if held_out is None else held_out
        return None if self.diverged else score

    @property
    def tested(self) -> Any:
        """Its score on the test images; None where it diverged."""
        return self.record.get(f"test_{self.trial.experiment.loss.score.name}")

    @property
    def score(self) -> float | None:
        """What it is ranked by: what it reached, if it trained to its end."""
        return None if self.pruned else self.reached

    def lines(self) -> list[dict[str, Any]]:
        """The records of its epochs."""
        return read_metrics(self.workdir.metrics)


def workdir_of(sweep: Path, number: int) -> Workdir:
    """Where a trial of a sweep leaves its files."""
    return Workdir(sweep / "trials" / f"{number:05d}")


def write(sweep: Path, trial: Trial, outcome: Outcome, facts: Mapping[str, Any]) -> Finished:
    """Writes what a trial leaves; it is finished when its result is there, which comes last.

    Raises:
        OSError: the disk is full or the place cannot be written.
    """
    workdir = workdir_of(sweep, trial.number)
    remove_leftovers(workdir.path)
    write_json(workdir.experiment, to_json(trial.experiment))
    lines = "".join(json.dumps(line) + "\n" for line in outcome.lines)
    write_bytes(workdir.metrics, lines.encode())
    Parameters(outcome.params, outcome.batch_stats, dict(facts)).write(workdir.parameters)
    write_json(workdir.result, outcome.record)
    return Finished(trial, workdir, outcome.record)


def read(sweep: Path, trial: Trial) -> Finished | None:
    """A trial's result, if it is finished.

    Raises:
        UserError: what is there is of another trial, or is broken.
    """
    workdir = workdir_of(sweep, trial.number)
    if not workdir.result.exists():
        return None
    before, now = read_json(workdir.experiment), to_json(trial.experiment)
    changed = sorted(set(differences(before, now)) - (FREE - set(trial.configuration)))
    if changed:
        raise UserError(
            f"{workdir.path} holds a trial with another {', '.join(changed)}; "
            "choose another --workdir or delete it"
        )
    return Finished(trial, workdir, _record(workdir, trial.experiment))


def read_all(sweep: Path, varied: Collection[str]) -> list[Finished]:
    """All finished trials of a sweep, by number, from their files.

    Args:
        sweep: its workdir.
        varied: names of the settings that it varies.

    Raises:
        UserError: a file is broken.
    """
    found = []
    results = [path for path in sweep.glob("trials/*/result.json") if path.parent.name.isdigit()]
    for result in sorted(results, key=lambda path: int(path.parent.name)):
        workdir = Workdir(result.parent)
        experiment = from_json(read_json(workdir.experiment), PART_TYPES)
        values = {name: value for _, name, value, _ in flat_settings(experiment)}
        configuration = {name: values[name] for name in varied}
        trial = Trial(int(result.parent.name), configuration, experiment)
        found.append(Finished(trial, workdir, _record(workdir, experiment)))
    return found


def _record(workdir: Workdir, experiment: Experiment) -> dict[str, Any]:
    """The fields of result.json, with all that a sweep reads of them.

    Raises:
        UserError: it is damaged.
    """
    record, score = workdir.record(), experiment.loss.score.name
    kinds: dict[str, Any] = {
        "status": Literal["complete", "pruned", "diverged"],
        **dict.fromkeys(("epochs", "best_epoch", "num_params", "seconds"), float),
        **dict.fromkeys((f"val_{score}", "images_per_second"), float | None),
        f"test_{score}": float | None if record.get("status") == "diverged" else float,
    }
    for name, kind in kinds.items():
        try:
            check(name, record[name], kind)
        except (KeyError, UserError):
            raise UserError(
                f"{workdir.result} is damaged: its {name}; delete it, and the sweep's command "
                "trains the trial again"
            ) from None
    return record
