"""Many trials in one picture: scores against what varied, and all learning curves."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxcv.plots.comparison import COLOURS, whole_numbers
from jaxcv.plots.style import BLUE, INK, SOFT, drawing_style, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# More lines than there are colours tell nobody anything.
_MOST_LINES = len(COLOURS)
# Losses that differ by more than this factor have a logarithmic axis.
_WIDE = 1e3
_DOTS: dict[str, Any] = {"linestyle": "", "marker": ".", "markersize": 9, "alpha": 0.6}


def scores_against(
    lines: Mapping[str, Mapping[Any, Sequence[float]]],
    setting: str,
    score: str,
    logarithmic: bool = False,
    averaged: bool = True,
    joined: bool = True,
) -> "Figure":
    """Draw scores against a setting, a line for what else varied.

    Args:
        lines: name to the scores at each value of the setting; several are those of several seeds.
        setting: name of the axis; values that are no numbers stand side by side.
        score: name of the other axis.
        logarithmic: whether the setting has a logarithmic axis.
        averaged: whether the scores at a value belong together, as those of several seeds do.
        joined: whether means are joined by lines; those at values that are no numbers never are.

    Returns:
        Every score as a dot and, where the lines are few, the means, with standard deviations where
        there are several scores.
    """
    values = list(dict.fromkeys(value for line in lines.values() for value in line))
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    values = sorted(values) if numeric else values
    positive = [value for value in values if value > 0] if numeric else []
    logarithmic = logarithmic and len(positive) > 0 and values[0] >= 0
    place = {value: value if numeric else i for i, value in enumerate(values)}
    few = len(lines) <= _MOST_LINES
    with drawing_style():
        figure = new_figure(9.0, 3.8, layout="constrained")
        ax = figure.subplots()
        for i, (name, line) in enumerate(lines.items()):
            colour = COLOURS[i] if few else BLUE
            known = sorted((place[value], scores) for value, scores in line.items() if scores)
            dots = [(x, score) for x, scores in known for score in scores]
            ax.plot(*np.array(dots, float).reshape(-1, 2).T, **_DOTS, color=colour, label=name)
            averages = few and averaged
            if averages and joined and numeric:
                means = np.array([np.mean(scores) for _, scores in known])
                ax.plot([x for x, _ in known], means, color=colour, linewidth=1.4)
            several = [(x, scores) for x, scores in known if len(scores) > 1]
            if averages and several:
                ax.errorbar(
                    [x for x, _ in several],
                    [np.mean(scores) for _, scores in several],
                    [np.std(scores, ddof=1) for _, scores in several],
                    fmt="_",
                    color=colour,
                    markersize=10,
                    capsize=3,
                    linewidth=1.4,
                )
        scores = [s for line in lines.values() for several in line.values() for s in several]
        if scores:
            # A value none of whose trials has a score keeps its place on the axis.
            ax.plot(list(place.values()), [scores[0]] * len(place), alpha=0.0)
        if logarithmic and values[0] > 0:
            ax.set_xscale("log")
        elif logarithmic:
            # 0 stands a decade below the smallest number that has a logarithm.
            ax.set_xscale("symlog", linthresh=positive[0])
        if not numeric:
            ax.set_xticks(range(len(values)), [str(value) for value in values])
            ax.margins(x=0.5 / len(values))
        elif all(isinstance(value, int) for value in values):
            whole_numbers(ax)
        ax.set(xlabel=setting.replace("_", " "), ylabel=score)
        if few and any(lines):
            figure.legend(loc="outside right upper")
        return figure


def learning_curves(
    trials: Mapping[str, Sequence[Mapping[str, Any]]], score: str, best: str | None = None
) -> "Figure":
    """Draw the training loss and the validation score of every trial by epoch.

    Args:
        trials: name to the records of its metrics.jsonl; without validation images the training
            score is drawn.
        score: name of the metric.
        best: the trial to draw in front.
    """
    loss = next((f for lines in trials.values() for r in lines for f in r if "train_" in f), "")
    held_out = any(r[f"val_{score}"] is not None for lines in trials.values() for r in lines)
    panels = list(dict.fromkeys((loss, f"{'val' if held_out else 'train'}_{score}")))
    with drawing_style():
        figure = new_figure(9.0, 3.8, layout="constrained")
        axes = np.atleast_1d(figure.subplots(1, len(panels)))
        for ax, field in zip(axes, panels, strict=True):
            for name, lines in sorted(trials.items(), key=lambda item: item[0] == best):
                epochs = [record["epoch"] for record in lines]
                values = [np.nan if r[field] is None else r[field] for r in lines]
                mine = {"color": INK, "linewidth": 2.0} if name == best else {"color": SOFT}
                style = {"linewidth": 0.8, "alpha": 0.5} | mine if name != best else mine
                ax.plot(
                    epochs,
                    values,
                    **style,
                    # One epoch makes no line.
                    marker="." if len(lines) == 1 else None,
                    label=f"the best trial: {name}" if name == best else None,
                )
            ax.set_title(field.replace("val_", "validation ").replace("train_", "training "))
            ax.set_xlabel("epoch")
            whole_numbers(ax)
        known = [r[loss] for lines in trials.values() for r in lines if r.get(loss) is not None]
        # One lane that goes astray would press all others into a line.
        if known and min(known) > 0 and max(known) > _WIDE * min(known):
            axes[0].set_yscale("log")
        if best is not None:
            figure.legend(
                handles=axes[0].get_legend_handles_labels()[0], loc="outside lower center"
            )
        return figure
