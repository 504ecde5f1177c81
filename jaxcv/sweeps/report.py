"""The page of a sweep: configurations side by side, scores against what varied, the best trial."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxcv import pages, parameters, plots, runtime
from jaxcv.errors import UserError
from jaxcv.figures import Pictured, first_kernel, write_figures
from jaxcv.files import write_bytes
from jaxcv.locks import locked
from jaxcv.metrics import Score
from jaxcv.reconstruction import SparseReconstruction
from jaxcv.sweeps import records
from jaxcv.sweeps.axes import Configuration, Span
from jaxcv.sweeps.plan import Plan, read_plan
from jaxcv.sweeps.records import Finished
from jaxcv.sweeps.results import Summary, best_of, ranked_by, summaries
from jaxcv.sweeps.search import name_of
from jaxcv.sweeps.table import named
from jaxcv.sweeps.trainer import Trainer

# Configurations whose features stand side by side, and lines of the table of configurations.
_FEATURES, _ROWS = 9, 100


def report_again(path: Path) -> Path:
    """Makes the page of a sweep, finished or not, from the files in its workdir.

    The best trial's figures are drawn anew where the data are at hand.

    Returns:
        The path of the page.

    Raises:
        UserError: a file is broken, no trial is finished, the sweep is running, or the place cannot
            be written.
    """
    plan = read_plan(path)
    runtime.set_up()
    try:
        with locked(path):
            trials = records.read_all(path, plan.axes)
            if not trials:
                raise UserError(f"{path}: no trial of this sweep is finished yet")
            best = best_of(trials, plan.experiment.loss.score)
            write_report(path, plan, summaries(trials), trials, best)
    except OSError as error:
        raise UserError(f"cannot write in {path}: {error.strerror or error}") from None
    return path / "report.html"


def write_report(
    path: Path,
    plan: Plan,
    configurations: Sequence[Summary],
    trials: Sequence[Finished],
    best: Finished | None,
) -> None:
    """Writes report.html and figures/.

    Args:
        path: workdir of the sweep.
        plan: of the sweep.
        configurations: what their seeds have come to.
        trials: finished.
        best: of them; None where none came to its end.

    Raises:
        OSError: the disk is full or the place cannot be written.
    """
    score, directory = plan.experiment.loss.score, path / "figures"
    title = f"{plan.experiment.name}: {len(trials)} trials"
    parts = [
        f"<header><h1>{pages.text(title)}</h1>{_missing(plan.total - len(trials))}</header>",
        _cards(score, trials, best),
        pages.section("Configurations", _table(configurations, score, ranked_by(trials, score))),
        pages.section("Trials", _figures(_overview(directory, plan, trials, best))),
    ]
    if isinstance(plan.experiment.loss, SparseReconstruction):
        shown = _figures(_features(directory, configurations, trials))
        parts.append(pages.section("Features", shown))
    if best is not None:
        heading = f"The best trial: {best.trial.number}"
        parts.append(pages.section(heading, _figures(_of_trial(directory / "best", best))))
    write_bytes(path / "report.html", pages.page(f"{title} · jaxcv", parts).encode())


def _missing(count: int) -> str:
    told = f"Not finished: trials that are missing: {count:,}. The command of the sweep goes on."
    return f'<p class="notice">{told}</p>' if count > 0 else ""


def _cards(score: Score, trials: Sequence[Finished], best: Finished | None) -> str:
    counts = {"diverged": sum(o.diverged for o in trials), "pruned": sum(o.pruned for o in trials)}
    values = [("trials", str(len(trials)))]
    values += [(name, str(count)) for name, count in counts.items() if count]
    if best is not None:
        ranked, tested = ranked_by(trials, score), f"test_{score.name}"
        first = [(f"best {ranked}", f"{best.score:.4f}")]
        if not ranked.startswith("test "):
            first.append((f"its test {score.name}", f"{best.record[tested]:.4f}"))
        values = [*first, *values]
    seconds = sum(one.record["seconds"] for one in trials)
    return pages.cards([*values, ("trained for", f"{seconds:,.0f} s")])


def _table(configurations: Sequence[Summary], score: Score, named_score: str) -> str:
    """Best first; those without a trial that came to its end last."""
    sign = -1 if score.larger_is_better else 1
    ranked = sorted(configurations, key=lambda s: np.inf if s.mean is None else sign * s.mean)
    varied = list(ranked[0].configuration) if ranked else []
    held_out = named_score != f"test {score.name}"
    # A column for what has happened at all.
    ends = [name for name in ("diverged", "pruned") if any(getattr(s, name) for s in ranked)]
    rows = [
        [
            *[named({"": summary.configuration[name]}).strip() for name in varied],
            _shown(summary.mean, summary.std),
            *[_shown(summary.test_mean, summary.test_std)] * held_out,
            str(summary.n),
            *[str(getattr(summary, name) or "") for name in ends],
        ]
        for summary in ranked[:_ROWS]
    ]
    heads = [name.replace("_", " ") for name in varied]
    note = ""
    if len(ranked) > _ROWS:
        note = f'\n<p class="soft">The best {_ROWS} of {len(ranked):,}; all are in results.csv.</p>'
    means = [named_score] + [f"test {score.name}"] * held_out
    heads += [f"mean {mean} ± std" for mean in means]
    return pages.table([*heads, "n", *ends], rows, [0]) + note


def _shown(mean: float | None, std: float | None) -> str:
    if mean is None:
        return "–"
    return f"{mean:.4f}" if std is None else f"{mean:.4f} ± {std:.4f}"


def _overview(
    directory: Path, plan: Plan, trials: Sequence[Finished], best: Finished | None
) -> dict[str, Path]:
    """Scores against each setting that varied, and the learning curves."""
    score, figures = plan.experiment.loss.score.name, {}
    ranked = ranked_by(trials, plan.experiment.loss.score)
    counts = {"diverged": sum(o.diverged for o in trials), "pruned": sum(o.pruned for o in trials)}
    gone = [f"{count} {what}" for what, count in counts.items() if count]
    absent = f"; left out: {' and '.join(gone)}" if gone else ""
    grid = plan.search.strategy == "grid"
    for name, axis in plan.axes.items():
        lines: dict[str, dict[Any, list[float]]] = {}
        for one in trials:
            configuration = one.trial.configuration
            # Of a range no two trials have the same value: there are no lines to draw.
            rest = {} if isinstance(axis, Span) else _without(configuration, name, plan)
            values = lines.setdefault(named(rest), {}).setdefault(name_of(configuration[name]), [])
            values += [] if one.score is None else [one.score]
        wide = axis.log if isinstance(axis, Span) else _wide(axis.values)
        path = directory / f"{name}.png"
        # Of a value that several draws have in common there is no mean, and draws are no sequence.
        averaged = grid or (isinstance(axis, Span) and not axis.whole)
        figure = plots.scores_against(lines, name, ranked, wide, averaged, joined=grid)
        plots.save(figure, path)
        deviation = "; mean ± standard deviation" if averaged and len(plan.seeds) > 1 else ""
        figures[f"{ranked} against {name.replace('_', ' ')}{deviation}{absent}"] = path
    names = {one.trial.number: f"{one.trial.number}" for one in trials}
    curves = {names[one.trial.number]: one.lines() for one in trials}
    path = directory / "learning_curves.png"
    front = None if best is None else names[best.trial.number]
    plots.save(plots.learning_curves(curves, score, front), path)
    return figures | {"Learning curves of all trials": path}


def _without(configuration: Configuration, name: str, plan: Plan) -> Configuration:
    """What else varied, ranges apart."""
    return {
        other: value
        for other, value in configuration.items()
        if other != name and not isinstance(plan.axes[other], Span)
    }


def _wide(values: Sequence[Any]) -> bool:
    """Whether listed values span more than a linear axis can show."""
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if all(isinstance(v, int) for v in numbers) and 0 in numbers:
        return False  # seeds
    positive = [v for v in numbers if v > 0]
    return len(numbers) == len(values) and max(positive, default=0) >= 10 * min(positive, default=1)


def _features(
    directory: Path, configurations: Sequence[Summary], trials: Sequence[Finished]
) -> dict[str, Path]:
    """What the hidden units of each configuration look for, side by side."""
    by_number = {one.trial.number: one for one in trials}
    pictures = {}
    for summary in [s for s in configurations if s.mean is not None][:_FEATURES]:
        one = next(by_number[n] for n in summary.trials if by_number[n].score is not None)
        found = parameters.read(one.workdir.parameters)
        shape = tuple(found.facts["image_shape"])
        kernel = first_kernel(found.params, shape)
        if kernel is not None:
            weights = np.asarray(kernel, np.float32)
            order = np.argsort(-np.linalg.norm(weights, axis=0), kind="stable")
            grid = plots.filter_grid(weights[:, order], shape, weights.shape[1])
            pictures[f"{named(summary.configuration)} (trial {one.trial.number})"] = grid
    if not pictures:
        return {}
    path = directory / "features.png"
    plots.save(plots.panels(pictures, min(3, len(pictures))), path)
    return {"What the hidden units look for, each scaled alone, the largest norm first": path}


def _of_trial(directory: Path, best: Finished) -> dict[str, Path]:
    """The figures of a lone run; those there are where the data are on another machine."""
    experiment = best.trial.experiment
    found = parameters.read(best.workdir.parameters)
    with jax.enable_x64(experiment.precision == "float64"):
        try:
            experiment, program, dataset = Trainer("map", 1).prepared(experiment)
        except UserError:
            paths = sorted(directory.glob("*.png"))
            return {path.stem.replace("_", " "): path for path in paths}
        program = program.with_numbers(experiment)
        trained = found.params, found.batch_stats
        predictions, totals = program.predictions(*trained, dataset.test, experiment.views)
        finished = Pictured(
            dataset=dataset,
            params=found.params,
            predictions=predictions,
            totals=totals,
            metrics=best.lines(),
            best_epoch=best.record["best_epoch"],
        )
    paths = write_figures(directory, experiment.loss, finished)
    return {path.stem.replace("_", " "): path for path in paths}


def _figures(figures: Mapping[str, Path]) -> str:
    return "\n".join(pages.figure(path.read_bytes(), caption) for caption, path in figures.items())
