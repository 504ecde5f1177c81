"""sweep: many trials of an experiment, chosen, trained, written down and compared."""

import contextlib
import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxcv.constraints import Count, check
from jaxcv.errors import UserError
from jaxcv.exits import Interrupted
from jaxcv.experiment import Experiment
from jaxcv.files import unwritable, write_bytes
from jaxcv.locks import locked
from jaxcv.sweeps import records
from jaxcv.sweeps.axes import Axis, Configuration
from jaxcv.sweeps.executors import Executor, Local
from jaxcv.sweeps.lanes import Stopped
from jaxcv.sweeps.plan import Plan, claim, look, make_plan
from jaxcv.sweeps.pruning import Pruner, Pruning
from jaxcv.sweeps.recorder import Recorder
from jaxcv.sweeps.records import Finished
from jaxcv.sweeps.report import write_report
from jaxcv.sweeps.results import Summary, best_of, ranked_by, summaries
from jaxcv.sweeps.search import Rounds, Strategy, Told, extremes
from jaxcv.sweeps.study import Study, default_url
from jaxcv.sweeps.table import Tally, named
from jaxcv.sweeps.trainer import LaneMode, Trainer
from jaxcv.sweeps.trials import Trial, trials_of

LANES = 16


@dataclasses.dataclass(frozen=True)
class SweepResult:
    """What a sweep has found.

    Attributes:
        workdir: where its files are.
        trials: all of them, by number.
        configurations: n, mean and standard deviation of each.
        best: the trial with the best score; None where all have diverged or were pruned.
    """

    workdir: Path
    trials: Sequence[Finished]
    configurations: Sequence[Summary]
    best: Finished | None


def sweep(
    experiment: Experiment,
    axes: Mapping[str, Axis | Sequence[Any]],
    workdir: Path | str | None = None,
    *,
    seeds: int | None = None,
    search: Strategy | None = None,
    trials: int | None = None,
    search_seed: int = 0,
    pruner: Pruner = "none",
    storage: str | None = None,
    lane_mode: LaneMode = "auto",
    lanes: int = LANES,
    executor: Executor | None = None,
    verify: bool = True,
    signalled: Callable[[], int] = lambda: 0,
) -> SweepResult:
    """Trains an experiment many times, with the settings that a search chooses.

    Called again, the same sweep goes on where it stopped: no finished trial is trained again.

    Args:
        experiment: what every trial begins with.
        axes: by the names of settings: values to try, or a `Span` of numbers.
        workdir: default runs/NAME-sweep.
        seeds: 3 trains each configuration with the experiment's seed and the two after it: 0, 1
            and 2 unless it says otherwise; None with its own alone.
        search: grid, random, qmc or tpe; None for a grid of lists, else for random draws.
        trials: configurations to try, where the search is no grid.
        search_seed: of the search.
        pruner: median, halving or hyperband, Optuna's: told the validation score of each trial
            after each epoch, gives up those that fall behind.
        storage: URL of the study's database; None for study.db in the workdir.
        lane_mode: "map" trains one trial after another, each with the bits of a lone run; "vmap"
            all lanes at once; "auto" is map on a CPU and vmap elsewhere.
        lanes: trials at a time.
        executor: trains them; None for this process, `jaxcv.sweeps.ray_executor.Ray` on a cluster.
            It has a `lane_mode`, `lanes` and `verify` of its own.
        verify: before the first training on a backend, let it prove that it computes rightly.
        signalled: asked between chunks for a signal's number; at the first that is not 0 the
            sweep ends with `Interrupted`, and what is finished is written down.

    Raises:
        UserError: settings, data or storage that do not fit, a full disk, ...
        VerificationFailed: the backend computes wrong results.
        Interrupted: `signalled` told so.

    Example:
        >>> found = sweep(  # doctest: +SKIP
        ...     Experiment(model=models.CNN(), optimizer=Adam()),
        ...     {"learning_rate": Span(1e-4, 1e-2, log=True), "l2": [0.0, 1e-4]},
        ...     trials=20,
        ...     seeds=3,
        ... )
        >>> found.best.trial.configuration  # doctest: +SKIP
        {'learning_rate': 0.0021, 'l2': 0.0001}
    """
    check("lanes", lanes, Count)
    check("lane_mode", lane_mode, LaneMode)
    if executor is not None and not isinstance(executor, Executor):
        raise UserError(
            f"executor must be an object with check() and run(), such as ray_executor.Ray(...), "
            f"not {executor}"
        )
    if storage == "":
        raise UserError("--storage must be a database's URL, such as sqlite:///study.db, not ''")
    plan = make_plan(
        experiment,
        axes,
        seeds=seeds,
        search=search,
        trials=trials,
        search_seed=search_seed,
        pruner=pruner,
    )
    path = Path(workdir or f"runs/{experiment.name}-sweep")
    if executor is None:
        pruning = None
        if pruner != "none":
            pruning = Pruning(pruner, plan.longest, experiment.loss.score.larger_is_better)
        # More lanes than trials would compute copies.
        lanes = min(lanes, plan.total)
        executor = Local(Trainer(lane_mode, lanes, verify, note=print), lanes, pruning)
    elif pruner != "none":
        raise UserError("--pruner compares trials while they train: it is for --executor local")
    try:
        look(path, plan)
        rounds = Rounds(plan.search)
        first = rounds.next()
        # What does not fit is refused here: before any training, before a workdir is claimed.
        if left := _unfinished(path, plan, first):
            executor.check(left)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    absent = [place for place in (path, *path.parents) if not place.exists()]
    try:
        with locked(path):
            said = path / "sweep.json"
            before = said.read_bytes() if said.exists() else None
            claim(path, plan)
            try:
                study = Study(
                    storage or default_url(path),
                    experiment.name,
                    plan.identity(),
                    plan.axes,
                    experiment.loss.score.larger_is_better,
                    curves=pruner != "none",
                )
            except UserError:
                # What is refused changes nothing: a mistyped --storage does not keep the place from
                # another sweep, and the sweep that is there goes on as before.
                if before is not None:
                    write_bytes(said, before)
                elif storage:
                    said.unlink()
                raise
            return _Sweep(path, plan, executor, study, signalled).go(rounds, first)
    except OSError as error:
        raise unwritable(path, error) from None
    finally:
        # What was refused leaves no directory behind; one that holds anything is not removed.
        for place in absent:
            with contextlib.suppress(OSError):
                place.rmdir()


def _unfinished(path: Path, plan: Plan, first: Sequence[Configuration]) -> list[Experiment]:
    """What is left to train, as far as it is known before the first scores.

    Args:
        path: workdir of the sweep, which may not be there.
        plan: of the sweep.
        first: those of its first round.

    Raises:
        UserError: the values of a configuration do not go together.
    """
    total = plan.total
    done = {number for number in range(total) if records.workdir_of(path, number).result.exists()}
    if len(done) == total:
        return []
    trials = trials_of(plan.experiment, first, plan.seeds, 0)
    left = [trial for trial in trials if trial.number not in done]
    left += trials_of(plan.experiment, extremes(plan.search, first[0]), plan.seeds, total)
    return [trial.experiment for trial in left]


class _Sweep:
    """One start of a sweep: what its loop carries."""

    def __init__(
        self,
        path: Path,
        plan: Plan,
        executor: Executor,
        study: Study,
        signalled: Callable[[], int],
    ):
        self.path = path
        self.plan = plan
        self.executor = executor
        self.study = study
        self.signalled = signalled
        self.score = plan.experiment.loss.score
        self.finished: dict[int, Finished] = {}

    def go(self, rounds: Rounds, configurations: Sequence[Configuration]) -> SweepResult:
        """Round after round, the first of which has been asked for, to the last trial."""
        number, each = 0, len(self.plan.seeds)
        with (
            Tally(self.plan.total, self.score) as tally,
            Recorder(self.path, self.study, self.facts) as recorder,
        ):
            while configurations:
                trials = trials_of(self.plan.experiment, configurations, self.plan.seeds, number)
                number += len(trials)
                self.train(trials, tally, recorder)
                found = [self.finished[trial.number] for trial in trials]
                rounds.tell([told(found[i : i + each]) for i in range(0, len(found), each)])
                configurations = rounds.next()
        return self.conclude(tally.trained > 0)

    @property
    def facts(self) -> dict[str, Any]:
        """What results.json says of the sweep itself."""
        return {"experiment": self.plan.experiment.name, "score": self.score.name}

    def train(self, trials: Sequence[Trial], tally: Tally, recorder: Recorder) -> None:
        """Trains those of a round's trials that are not done.

        Raises:
            Interrupted: a signal has come.
        """
        done = [one for trial in trials if (one := records.read(self.path, trial)) is not None]
        self.finished |= {one.trial.number: one for one in done}
        tally.found(done)
        recorder.found(done)
        if len(done) < len(trials):
            # The page of fewer trials: a start that is killed before its own would leave it.
            (self.path / "report.html").unlink(missing_ok=True)
        try:
            for trial, outcome, facts in self.executor.run(trials, self.finished, self.signalled):
                recorder.add(trial, outcome, facts)
                workdir = records.workdir_of(self.path, trial.number)
                one = Finished(trial, workdir, outcome.record)
                self.finished[trial.number] = one
                tally.after(one, outcome.images)
        except Stopped:
            count = len(self.finished)
            raise Interrupted(
                self.signalled(), f"stopped after {count} trials; the same command goes on"
            ) from None

    def conclude(self, news: bool) -> SweepResult:
        """Writes the page, unless an earlier start has, and tells what was found."""
        finished = [self.finished[number] for number in sorted(self.finished)]
        result = SweepResult(
            self.path, finished, summaries(finished), best_of(finished, self.score)
        )
        page = self.path / "report.html"
        if not news and page.exists():
            print(f"{self.path} is finished; its report is {page}")
            return result
        write_report(self.path, self.plan, result.configurations, finished, result.best)
        if result.best is not None:
            best = result.best.trial
            varied = f"{named(best.configuration)}, seed {best.experiment.seed}".removeprefix(", ")
            ranked = ranked_by(finished, self.score)
            print(f"best {ranked} {result.best.score:.4f}: {varied}")
        print(f"report: {page}" if result.best else f"no trial came to its end; report: {page}")
        return result


def told(seeds: Sequence[Finished]) -> Told:
    """What the trials of a configuration have come to, for the search to learn from."""
    known = [one.reached for one in seeds if one.reached is not None]
    if len(known) < len(seeds):
        return Told(None)
    pruned = [one.record["epochs"] for one in seeds if one.pruned]
    return Told(statistics.fmean(known), min(pruned, default=None))
