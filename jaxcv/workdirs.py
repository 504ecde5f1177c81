"""What a workdir holds, and whether a run may start in it."""

import dataclasses
import fnmatch
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from jaxcv import locks
from jaxcv.errors import UserError
from jaxcv.experiment import Experiment
from jaxcv.experiment_json import differences, to_json
from jaxcv.files import read_json, remove_leftovers, write_json

# What may differ between two starts of one run: where its data lie, and what the data decide.
FREE = {"data_dir", "num_classes"}


@dataclasses.dataclass(frozen=True)
class Workdir:
    """The files of a run by name: everything that it leaves is below one directory."""

    path: Path

    @property
    def experiment(self) -> Path:
        """The whole experiment as JSON."""
        return self.path / "experiment.json"

    @property
    def metrics(self) -> Path:
        """A line an epoch."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Directory of checkpoints."""
        return self.path / "checkpoints"

    @property
    def parameters(self) -> Path:
        """The parameters of a sweep's trial, which has no checkpoints: those that were tested.

        Where it diverged, the best there were.
        """
        return self.path / "parameters.msgpack"

    @property
    def figures(self) -> Path:
        """Directory of pictures."""
        return self.path / "figures"

    @property
    def report(self) -> Path:
        """The page, made when the result is there."""
        return self.path / "report.html"

    @property
    def result(self) -> Path:
        """Written last: a workdir that has it is finished."""
        return self.path / "result.json"

    def look(
        self, experiment: Experiment, resume: bool
    ) -> Literal["new", "unfinished", "finished"]:
        """What the directory holds for an experiment; nothing is changed.

        Returns:
            "new": nothing is there. "unfinished": the same experiment stopped here, or is to train
            for more epochs: go on from its checkpoint. "finished": its result is here, there is
            nothing to do.

        Raises:
            UserError: the directory holds something else, or unfinished results and `resume` is
                false.
        """
        if not self.experiment.exists():
            if self.path.exists() and (not self.path.is_dir() or any(self._strange())):
                raise UserError(
                    f"{self.path} holds files that are not a run's; choose another --workdir"
                )
            return "new"
        before, now = read_json(self.experiment), to_json(experiment)
        changed = set(differences(before, now)) - FREE
        longer = changed == {"epochs"} and is_longer(before, now)
        more = resume and longer
        if longer and not resume:
            raise UserError(
                f"{self.path} holds this run with {before['epochs']} epochs; add --resume to train "
                f"on to {now['epochs']}, or choose another --workdir"
            )
        if changed and not more:
            raise UserError(
                f"{self.path} holds a run with another {', '.join(sorted(changed))}; "
                "choose another --workdir or delete it"
            )
        if self.result.exists() and not more:
            return "finished"
        if self.parameters.exists():  # and no checkpoint
            raise UserError(
                f"{self.path} holds a trial of a sweep, which cannot be trained on; choose another "
                "--workdir"
            )
        if not resume:
            raise UserError(
                f"{self.path} holds an unfinished run; add --resume to go on with it, "
                "or choose another --workdir"
            )
        return "unfinished"

    def record(self) -> dict[str, Any]:
        """The fields of result.json.

        Raises:
            UserError: it cannot be read, or is no run's result.
        """
        record = read_json(self.result)
        if not isinstance(record.get("params_sha256"), str):
            raise UserError(
                f"{self.result}: no result of a run, it has no params_sha256; delete it and go on "
                "with --resume"
            )
        return record

    def claim(self, experiment: Experiment) -> None:
        """Makes the directory this experiment's: an earlier, shorter result is gone.

        So is what writers that were killed have left. To be called under the directory's lock.

        Raises:
            OSError: the place cannot be written.
        """
        for directory in (self.path, self.checkpoints, self.figures):
            remove_leftovers(directory)
        self.result.unlink(missing_ok=True)
        self.report.unlink(missing_ok=True)
        write_json(self.experiment, to_json(experiment))

    def _strange(self) -> Iterator[Path]:
        """Files that no run has left that was killed while it began."""
        return (
            path
            for path in self.path.iterdir()
            if path.name != locks.NAME
            and not fnmatch.fnmatch(path.name, f".{self.experiment.name}.*.tmp")
        )


def is_longer(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether an experiment, as JSON, has more epochs than an earlier one.

    Raises:
        UserError: it has, but cannot go on with the other's checkpoint.
    """
    epochs = before.get("epochs")
    if not isinstance(epochs, int | float) or now["epochs"] <= epochs:
        return False
    if epochs % 1 and before.get("patience") is not None:
        # The best may be those of the part's end, where the longer run would not have looked.
        raise UserError(
            f"--patience and --epochs {epochs}, a part of an epoch: such a run cannot be trained "
            "on; choose another --workdir"
        )
    return True
