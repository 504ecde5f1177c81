"""What a workdir holds, and whether a run may start in it."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from jaxcv.errors import UserError
from jaxcv.experiment import Experiment
from jaxcv.experiment_json import differences, to_json
from jaxcv.files import read_json, write_json

# What may differ between two starts of one run: where its data lie, and what the data decide.
_FREE = {"data_dir", "num_classes"}


@dataclasses.dataclass(frozen=True)
class Workdir:
    """The files of a run by name; DESIGN: everything that a run leaves is below one directory."""

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
    def figures(self) -> Path:
        """Directory of pictures."""
        return self.path / "figures"

    @property
    def result(self) -> Path:
        """Written last: a workdir that has it is finished."""
        return self.path / "result.json"

    def open(
        self, experiment: Experiment, resume: bool
    ) -> Literal["new", "unfinished", "finished"]:
        """Claims the directory for an experiment, and says what is in it.

        Returns:
            "new": experiment.json has been written, nothing else is there. "unfinished": the same
            experiment stopped here, go on from its checkpoint. "finished": its result is here,
            there is nothing to do.

        Raises:
            UserError: the directory holds another experiment's results, or unfinished ones and
                `resume` is false. Nothing has been changed then.
        """
        record = to_json(experiment)
        if not self.experiment.exists():
            if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
                raise UserError(
                    f"{self.path} holds files that are not a run's; choose another --workdir"
                )
            self._write(record)
            return "new"
        before = read_json(self.experiment)
        done = read_json(self.result) if self.result.exists() else None
        changed = set(differences(before, record)) - _FREE
        more = resume and changed == {"epochs"} and self._longer(before, record)
        if changed and not more:
            raise UserError(
                f"{self.path} holds a run with another {', '.join(sorted(changed))}; "
                "choose another --workdir or delete it"
            )
        if done is not None and not more:
            return "finished"
        if not resume:
            raise UserError(
                f"{self.path} holds an unfinished run; add --resume to go on with it, "
                "or choose another --workdir"
            )
        if more:
            self.result.unlink(missing_ok=True)
            self._write(record)
        return "unfinished"

    def _longer(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
        epochs = before.get("epochs")
        return isinstance(epochs, int) and now["epochs"] > epochs

    def _write(self, record: Mapping[str, Any]) -> None:
        try:
            write_json(self.experiment, record)
        except OSError as error:
            raise UserError(f"cannot write in {self.path}: {error.strerror}") from None
