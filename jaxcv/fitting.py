"""What stands before and after the training loop: workdir, data, devices, other processes."""

import contextlib
import dataclasses
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from jaxcv.data import load as load_data
from jaxcv.data.dataset import Dataset
from jaxcv.devices import Devices, agreed, is_first
from jaxcv.errors import UserError
from jaxcv.experiment import Experiment
from jaxcv.files import unwritable
from jaxcv.locks import locked
from jaxcv.outcome import finished
from jaxcv.peers import several
from jaxcv.programs import prepare, resolve
from jaxcv.running import Run
from jaxcv.verification.quick import ensure_verified
from jaxcv.workdirs import Workdir

# What the first of several processes tells the others before it begins.
_REFUSED, _GO, _NOTHING_TO_DO = 3, 2, 1


@dataclasses.dataclass(frozen=True)
class Result:
    """What a finished run gave.

    Attributes:
        workdir: where its files are.
        record: the fields of result.json; of several processes the first alone has them.
    """

    workdir: Path
    record: dict[str, Any]


def fit(
    experiment: Experiment,
    workdir: Path | str | None = None,
    *,
    resume: bool = False,
    verify: bool = True,
    checkpoint_minutes: float = 5.0,
    devices: Devices = 1,
    signalled: Callable[[], int] = lambda: 0,
) -> Result:
    """Trains an experiment and leaves its files in a workdir.

    Args:
        experiment: what to train.
        workdir: default runs/NAME. A finished one of the same experiment is left as it is.
        resume: go on from the newest checkpoint; where there is none, start.
        verify: before the first training on a backend, let it prove that it computes rightly
            (`jaxcv.verification.quick`).
        checkpoint_minutes: between two checkpoints inside an epoch; its end has one, too, unless
            the last is younger than a second.
        devices: how many share each batch; "all" that there are. The run's numbers differ by no
            more than the order of sums makes them.
        signalled: asked between chunks for a signal's number; at the first that is not 0 the
            state is saved and `Interrupted` raised.

    Raises:
        UserError: bad data, a workdir that holds something else or that another process writes
            in, divergence, a full disk.
        VerificationFailed: the backend computes wrong results.
        Interrupted: `signalled` told so.

    Example:
        >>> result = fit(Experiment(model=models.CNN(), optimizer=Adam(1e-3)))  # doctest: +SKIP
        >>> result.record["test_accuracy"]  # doctest: +SKIP
        0.9917
    """
    path = Path(workdir or f"runs/{experiment.name}")
    with jax.enable_x64(experiment.precision == "float64"):
        return _fit(experiment, path, resume, verify, checkpoint_minutes, devices, signalled)


def _fit(
    experiment: Experiment,
    path: Path,
    resume: bool,
    verify: bool,
    checkpoint_minutes: float,
    devices: Devices,
    signalled: Callable[[], int],
) -> Result:
    workdir = Workdir(path)
    signalled = _together(signalled)
    if not is_first():
        return _follow(experiment, workdir, devices, signalled)
    told, verdict = False, _REFUSED
    try:
        try:
            record = finished(workdir, experiment, resume)
        except UserError:
            _require_unlocked(workdir)
            raise
        if record is not None:
            verdict = _NOTHING_TO_DO
            return Result(path, record)
        dataset = _load(experiment)
        experiment = resolve(experiment, dataset)
        program = prepare(experiment, dataset, devices)
        if verify:
            ensure_verified()
        with locked(path):
            # Another process may have been here meanwhile.
            record = finished(workdir, experiment, resume)
            if record is not None:
                verdict = _NOTHING_TO_DO
                return Result(path, record)
            workdir.claim(experiment)
            agreed(_GO)
            told = True
            run = Run(experiment, dataset, program, workdir, checkpoint_minutes, signalled)
            return Result(path, run.go())
    except OSError as error:
        raise unwritable(path, error) from None
    finally:
        if not told and several():
            with contextlib.suppress(RuntimeError):  # the others have ended already
                agreed(verdict)


def _follow(
    experiment: Experiment, workdir: Workdir, devices: Devices, signalled: Callable[[], int]
) -> Result:
    """What a process does that is not the first: the same computation, and no files.

    It reads the checkpoint that the first one goes on from: the workdir must be on a file system
    that all of them see.

    Raises:
        UserError: as for `fit`, or the first process has refused the run.
    """
    dataset = _load(experiment)
    experiment = resolve(experiment, dataset)
    program = prepare(experiment, dataset, devices)
    verdict = agreed(0)
    if verdict == _REFUSED:
        raise UserError("the first process of this run has refused it, and says why")
    if verdict == _GO:
        Run(experiment, dataset, program, workdir, math.inf, signalled).go()
    return Result(workdir.path, {})


def _load(experiment: Experiment) -> Dataset:
    return load_data(
        experiment.data,
        experiment.data_dir,
        experiment.data_seed,
        experiment.validation,
        experiment.data_file,
        experiment.data_key,
    )


def _together(signalled: Callable[[], int]) -> Callable[[], int]:
    """A signal that one of a run's processes has received is one for all of them."""
    return lambda: int(agreed(signalled()))


def _require_unlocked(workdir: Workdir) -> None:
    """Says so where a run is under way: that is more than what it has left so far.

    Raises:
        UserError: a run is under way.
    """
    if os.path.exists(workdir.experiment):  # false for a name that no file can have
        with contextlib.suppress(OSError), locked(workdir.path):
            pass
