"""How a run ends: one look at the test images, the figures, the result and its page."""

import contextlib
from typing import Any

import jax
import numpy as np
from jaxtyping import Real

from jaxcv import runtime
from jaxcv.course import Best, best_epoch
from jaxcv.data.dataset import Dataset
from jaxcv.errors import UserError
from jaxcv.experiment import Experiment
from jaxcv.figures import Pictured, write_figures
from jaxcv.files import remove_leftovers, write_json
from jaxcv.journal import Journal
from jaxcv.locks import locked
from jaxcv.metrics import require_finite
from jaxcv.operations import training_pflop
from jaxcv.programs import Program
from jaxcv.reports import write_report
from jaxcv.results import params_sha256, result_record
from jaxcv.training import TrainState
from jaxcv.workdirs import Workdir


def finished(workdir: Workdir, experiment: Experiment, resume: bool) -> dict[str, Any] | None:
    """The result that a workdir has of an experiment; None where there is something to do.

    Raises:
        UserError: the workdir holds something else, or cannot be read.
    """
    path = workdir.path
    try:
        if workdir.look(experiment, resume) != "finished":
            return None
        record = workdir.record()
        page = workdir.report
        if not page.exists():  # killed between the result and its page
            with contextlib.suppress(UserError), locked(path):  # whose end removes the dead lock
                remove_leftovers(path)
            write_report(path)
        with contextlib.suppress(OSError):  # nobody listens
            print(f"{path} is finished; its report is {page}", flush=True)
        return record
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None


def tested(
    experiment: Experiment,
    dataset: Dataset,
    program: Program,
    state: TrainState,
    best: Best | None,
) -> tuple[
    TrainState | Best, dict[str, Any], dict[str, Any] | None, Real[np.ndarray, "n_test ..."]
]:
    """Looks at the test images once: every process of a run does.

    Returns:
        What was tested, the final parameters or the best where early stopping is on; the loss's
        totals; those of the plain images, where the first are of several views; what the network
        says of each image.
    """
    chosen = best if experiment.patience is not None and best is not None else state
    trained, views = (chosen.params, chosen.batch_stats), experiment.views
    predictions, totals = program.predictions(*trained, dataset.test, views)
    plain = None if views == "plain" else jax.device_get(program.evaluate(*trained, "test"))
    return chosen, totals, plain, predictions


def conclude(
    workdir: Workdir,
    experiment: Experiment,
    dataset: Dataset,
    program: Program,
    journal: Journal,
    state: TrainState,
    best: Best | None,
    **facts: Any,
) -> dict[str, Any]:
    """Tests once, draws, and writes the result last.

    Tested are the final parameters, or the best where early stopping is on.

    Args:
        workdir: of the run.
        experiment: what was trained.
        dataset: on what.
        program: computes.
        journal: has a line for each epoch.
        state: the last.
        best: the best parameters; None without validation images.
        facts: fields of result.json that the loop alone knows.

    Raises:
        UserError: the test loss is not finite.
        OSError: the disk is full or the place cannot be written.
    """
    lines = journal.lines()
    begun = len(lines)
    epochs = min(begun, experiment.epochs)  # the last of them perhaps not whole
    score = experiment.loss.score.name
    stopping = experiment.patience is not None and best is not None
    chosen, totals, plain, predictions = tested(experiment, dataset, program, state, best)
    test = experiment.loss.metrics(totals)
    require_finite(test, begun)
    if plain is not None:
        facts[f"test_{score}_plain"] = experiment.loss.metrics(plain)[score]
    marked = best_epoch(experiment, lines)
    shown = Pictured(
        dataset=dataset,
        params=chosen.params,
        predictions=predictions,
        totals=totals,
        metrics=lines,
        best_epoch=marked,
    )
    journal.figures(int(state.step), write_figures(workdir.figures, experiment.loss, shown))
    record = result_record(
        experiment,
        epochs=epochs,
        best_epoch=marked,
        validation=lines[(marked if stopping else begun) - 1][f"val_{score}"],
        test=test[score],
        params=state.params,
        sha256=params_sha256(state.params, state.batch_stats),
        seconds=runtime.seconds_since_start(),
        training_pflop=training_pflop(
            experiment, program.image_shape, int(state.step) * program.batch_size
        ),
        **facts,
    )
    # One that was made while the run went on would stay if this one is killed before its own.
    workdir.report.unlink(missing_ok=True)
    write_json(workdir.result, record)
    write_report(workdir.path)
    return record
