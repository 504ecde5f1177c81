"""Figures: what they show, and that equal values give equal files."""

import io
import math
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from PIL import Image

from jaxcv import plots

METRICS = [
    {
        "epoch": epoch,
        "train_loss": 2 / epoch,
        "train_accuracy": 1 - 1 / epoch,
        "val_loss": 2.2 / epoch,
        "val_accuracy": 0.9 - 0.9 / epoch,
        "learning_rate": 0.1,
    }
    for epoch in range(1, 6)
]
NAMES = tuple(f"class {index}" for index in range(10))


def pixels(figure: Any) -> np.ndarray:
    """The figure as it is drawn, uint8 [height, width, 3]."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return np.asarray(Image.open(buffer).convert("RGB"))


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def lines(ax: Any) -> dict[str, np.ndarray]:
    return {line.get_label(): line.get_ydata() for line in ax.lines}


def all_texts(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


def texts(figure: Any) -> set[str]:
    return set(all_texts(figure)) - {""}


def test_curves_show_the_metrics_and_mark_the_best_epoch():
    figure = plots.curves(METRICS, best_epoch=4)
    loss, accuracy = figure.axes
    assert (loss.get_title(loc="left"), accuracy.get_title(loc="left")) == ("Loss", "Accuracy")
    for name, label in (("train", "train"), ("val", "validation")):
        for ax, quantity in ((loss, "loss"), (accuracy, "accuracy")):
            expected = [record[f"{name}_{quantity}"] for record in METRICS]
            np.testing.assert_array_equal(lines(ax)[label], expected)
    assert any(np.array_equal(line.get_xdata(), [4, 4]) for line in accuracy.lines)
    assert {"train", "validation", "best epoch (4)"} <= texts(figure)


def test_the_learning_rate_is_drawn_only_when_it_varies():
    varying = [{**record, "learning_rate": 0.1 / record["epoch"]} for record in METRICS]
    assert len(plots.curves(METRICS).axes) == 2
    *_, rate = plots.curves(varying).axes
    assert rate.get_title(loc="left") == "Learning rate"


def test_without_accuracies_only_the_loss_is_drawn():
    records = [
        {"epoch": 1, "train_loss": 3.0, "val_loss": None, "val_accuracy": None},
        {"epoch": 2, "train_loss": math.nan, "val_accuracy": None},
        {"epoch": 3, "train_loss": math.inf},
    ]
    (ax,) = plots.curves(records).axes
    np.testing.assert_array_equal(lines(ax)["train"], [3.0, np.nan, np.nan])
    assert "validation" not in lines(ax)


@pytest.mark.parametrize("count", [0, 1, 3000])
def test_curves_of_any_length_are_drawn(count: int):
    records = [{"epoch": i + 1, "train_loss": 100.0 / (i + 1)} for i in range(count)]
    assert pixels(plots.curves(records)).std() > 0


def grey_boxes(figure: Any) -> list[np.ndarray]:
    return [np.asarray(ax.images[0].get_array()) for ax in figure.axes]


def test_templates_put_zero_at_mid_grey_and_the_largest_weight_at_an_end(
    rng: np.random.Generator,
):
    kernel = rng.normal(size=(4 * 5 * 3, 10)).astype(np.float32)
    kernel[:, 3] = 0
    figure = plots.templates(kernel, (4, 5, 3), NAMES)
    assert set(NAMES) <= texts(figure)
    for index, image in enumerate(grey_boxes(figure)):
        weights = kernel[:, index].reshape(4, 5, 3)
        if index == 3:
            np.testing.assert_array_equal(image, 0.5)
            continue
        assert max(image.max() - 0.5, 0.5 - image.min()) == pytest.approx(0.5)
        np.testing.assert_allclose(image - 0.5, weights / np.abs(weights).max() / 2, atol=1e-6)


def test_templates_of_grey_images_and_of_many_classes(rng: np.random.Generator):
    names = [f"a very long name of class {index}" for index in range(100)]
    figure = plots.templates(rng.normal(size=(64, 100)), (8, 8, 1), names)
    assert len(figure.axes) == 40
    assert all(len(text) <= 14 for text in texts(figure))


def test_filters_are_drawn_with_whole_pixels(rng: np.random.Generator):
    kernel = rng.normal(size=(3, 3, 3, 20))
    drawn = pixels(plots.filters(kernel))
    gap, cell = 6, 78
    assert drawn.shape == (2 * (cell + gap) + gap, 16 * (cell + gap) + gap, 3)
    assert (drawn[:gap] == 255).all()
    assert (drawn[:, :gap] == 255).all()
    row, column = gap + cell + gap, gap + 3 * (cell + gap)  # of unit 16 + 3
    picture = drawn[row : row + cell, column : column + cell].astype(float) / 255
    expected = 0.5 + kernel[..., 19] / np.abs(kernel[..., 19]).max() / 2
    np.testing.assert_allclose(picture[13::26, 13::26], expected, atol=0.01)


@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (6, 6), (11, 11), (16, 16), (32, 32)])
@pytest.mark.parametrize("width", [600, plots.WIDTH // 2, plots.WIDTH])
def test_a_grid_of_filters_is_no_wider_than_asked(rng: np.random.Generator, shape, width):
    grid = plots.filter_grid(rng.normal(size=(*shape, 1, 64)), width=width)
    assert width // 3 < grid.shape[1] <= width


def test_dense_filters_are_the_units_with_the_largest_weights(rng: np.random.Generator):
    kernel = rng.normal(size=(4 * 4 * 1, 100)) * 1e-3
    large = np.arange(1, 100, 3)
    kernel[:, large] *= 1e3
    (ax,) = plots.filters(kernel, (4, 4, 1)).axes
    dense = np.asarray(ax.images[0].get_array())
    few = np.sort(np.argsort(-np.linalg.norm(kernel, axis=0))[:64])
    (ax,) = plots.filters(kernel[:, few], (4, 4, 1)).axes
    assert set(large) <= set(few)
    np.testing.assert_array_equal(dense, ax.images[0].get_array())


def test_a_dense_kernel_needs_the_shape_of_the_image(rng: np.random.Generator):
    with pytest.raises(ValueError, match="image_shape"):
        plots.filters(rng.normal(size=(16, 4)))


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_filters_of_any_channels_even_not_finite_are_drawn(channels: int):
    kernel = np.zeros((5, 5, channels, 3), np.float32)
    kernel[0, 0, 0] = np.nan, np.inf, 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pixels(plots.filters(kernel)).size > 0


def test_predictions_tick_the_right_and_cross_the_wrong(rng: np.random.Generator):
    images = rng.integers(0, 256, size=(4, 8, 8, 3), dtype=np.uint8)
    labels = np.array([0, 1, 2, 3], np.int32)
    probabilities = np.full((4, 10), 0.01)
    probabilities[[0, 1, 2, 3], [0, 1, 9, 3]] = 0.91
    figure = plots.predictions(images, labels, probabilities, NAMES)
    shown = all_texts(figure)
    assert [text for text in shown if text[:1] in "✓✗" and text] == [
        "✓ class 0",
        "✓ class 1",
        "✗ class 9",
        "✓ class 3",
    ]
    assert shown.count("91%") == 4
    drawn = [ax.images[0].get_array() for ax in figure.axes if ax.images]
    np.testing.assert_array_equal(drawn, images)


def test_predictions_of_grey_images_of_two_classes(rng: np.random.Generator):
    images = rng.integers(0, 256, size=(1, 8, 8, 1), dtype=np.uint8)
    figure = plots.predictions(
        images, np.zeros(1, np.int32), np.array([[np.nan, 0.5]], np.float32), ("a", "b")
    )
    assert pixels(figure).std() > 0


def test_the_confusion_matrix_counts_and_normalises_by_row():
    labels = np.array([0, 0, 0, 0, 1, 1], np.int32)
    guesses = np.array([0, 0, 0, 1, 0, 0])
    figure = plots.confusion(labels, guesses, ("cat", "dog", "never seen"))
    ax = figure.axes[0]
    shares = np.asarray(ax.images[0].get_array())
    np.testing.assert_allclose(shares, [[0.75, 0.25, 0], [1, 0, 0], [0, 0, 0]])
    counts = {text.get_position(): text.get_text() for text in ax.texts}
    assert counts == {(0, 0): "3", (1, 0): "1", (0, 1): "2"}


def test_a_confusion_matrix_of_many_classes_has_no_counts():
    labels = np.arange(100, dtype=np.int32)
    assert not plots.confusion(labels, labels, [str(i) for i in labels]).axes[0].texts


def test_equal_values_give_equal_bytes_whatever_the_users_style(tmp_path: Path):
    import matplotlib

    plots.save(plots.curves(METRICS, 3), tmp_path / "a.png")
    with matplotlib.rc_context({"font.size": 20, "lines.linewidth": 9, "savefig.dpi": 30}):
        plots.save(plots.curves(METRICS, 3), tmp_path / "deep" / "b.png")
    first = (tmp_path / "a.png").read_bytes()
    assert first == (tmp_path / "deep" / "b.png").read_bytes()
    assert b"matplotlib" not in first.lower()
    assert size(tmp_path / "a.png") == (1350, 525)


def test_the_dots_per_inch_are_chosen_when_saving(tmp_path: Path):
    plots.save(plots.curves(METRICS), tmp_path / "a.png", dpi=60)
    assert size(tmp_path / "a.png") == (540, 210)


def test_importing_plots_imports_no_matplotlib_and_drawing_no_pyplot():
    program = (
        "import sys\n"
        "from jaxcv import plots\n"
        "assert 'matplotlib' not in sys.modules\n"
        "plots.curves([{'epoch': 1, 'train_loss': 1.0}])\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, cwd=root())


def root() -> Path:
    return Path(plots.__file__).parents[2]


# --- several runs, several pictures -------------------------------------------------------------


def test_compared_draws_a_line_a_run_and_panel():
    records = [
        {"epoch": 1, "train_loss": 2.0, "val_accuracy": None},
        {"epoch": 2, "train_loss": 1.0, "val_accuracy": 0.5},
    ]
    figure = plots.compared({"one": records, "two": records[:1]})
    loss, accuracy = figure.axes
    drawn = [np.asarray(line.get_ydata()).tolist() for line in loss.lines]
    assert drawn == [[2.0, 1.0], [2.0]]
    assert np.isnan(np.asarray(accuracy.lines[0].get_ydata())[0])
    assert loss.get_yscale() == "log"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one", "two"]


def test_compared_shows_the_training_images_where_none_are_held_out():
    records = [{"epoch": 1, "train_loss": 2.0, "train_accuracy": 0.3, "val_accuracy": None}]
    _, accuracy = plots.compared({"one": records}).axes
    assert accuracy.get_title(loc="left") == "Training accuracy"
    assert np.asarray(accuracy.lines[0].get_ydata()).tolist() == [0.3]


def test_more_runs_than_colours_are_told_apart():
    figure = plots.compared({str(i): [] for i in range(15)})
    looks = {(line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines}
    assert len(looks) == 15


def test_against_leaves_a_gap_where_there_is_no_value():
    x, y = np.array([0.1, 1.0, 10.0]), np.array([1.0, np.nan, 3.0])
    figure = plots.against(x, {"y": y}, "rate", "accuracy", logarithmic=True)
    (ax,) = figure.axes
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), y)
    assert (ax.get_xscale(), ax.get_xlabel(), ax.get_ylabel()) == ("log", "rate", "accuracy")


def test_panels_show_each_picture_under_its_title(tmp_path):
    pictures = {"signed": np.array([[-1.0, 3.0]]), "colour": np.zeros((4, 4, 3), np.uint8)}
    figure = plots.panels(pictures, columns=3, signed=True)
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["signed", "colour", ""]
    assert figure.axes[0].images[0].get_clim() == (-3.0, 3.0)
    plots.save(figure, tmp_path / "panels.png")
    assert (tmp_path / "panels.png").stat().st_size > 500


# --- sweeps -------------------------------------------------------------------------------------


def test_scores_against_a_setting_show_every_trial_and_the_means():
    lines = {"a": {0.1: [0.5, 0.7], 1.0: [0.8]}, "b": {0.1: [], 1.0: [0.6]}}
    figure = plots.scores_against(lines, "learning_rate", "accuracy", logarithmic=True)
    (ax,) = figure.axes
    drawn = [(line.get_marker(), np.asarray(line.get_xydata()).tolist()) for line in ax.lines]
    dots = sorted(xy for marker, points in drawn if marker == "." for xy in points)
    assert dots == [[0.1, 0.5], [0.1, 0.7], [1.0, 0.6], [1.0, 0.8]]
    means = [points for marker, points in drawn if marker == "None"]
    assert [[0.1, pytest.approx(0.6)], [1.0, 0.8]] in means
    # A deviation has more than one score.
    (bars,) = [c for c in ax.collections if isinstance(c, LineCollection)]
    low, high = np.asarray(bars.get_segments())[0].tolist()
    assert len(bars.get_segments()) == 1
    assert low == [0.1, pytest.approx(0.6 - 0.02**0.5)]
    assert high == [0.1, pytest.approx(0.6 + 0.02**0.5)]
    assert ax.get_xscale() == "log"


def test_zero_has_a_place_on_a_logarithmic_axis():
    lines = {"": {0.0: [0.5], 1e-4: [0.6], 1e-3: [0.7]}}
    (ax,) = plots.scores_against(lines, "l2", "accuracy", logarithmic=True).axes
    places = ax.transData.transform([(x, 0.5) for x in (0.0, 1e-4, 1e-3)])[:, 0]
    assert places[1] - places[0] == pytest.approx(places[2] - places[1], rel=0.2)
    below = plots.scores_against({"": {-1.0: [0.5], 1.0: [0.6]}}, "x", "y", logarithmic=True)
    assert below.axes[0].get_xscale() == "linear"


def lines_between(figure) -> int:
    return sum(
        line.get_linestyle() != "None" and line.get_alpha() != 0 for line in figure.axes[0].lines
    )


def test_a_line_leads_only_between_numbers_that_were_listed():
    scores = {0.1: [0.5, 0.7], 1.0: [0.8]}
    assert lines_between(plots.scores_against({"": scores}, "l2", "accuracy")) == 1
    drawn = plots.scores_against({"": scores}, "l2", "accuracy", joined=False)
    assert lines_between(drawn) == 0
    assert len(drawn.axes[0].collections) == 1
    dots = plots.scores_against({"": scores}, "l2", "accuracy", averaged=False)
    assert lines_between(dots) == 0
    assert not dots.axes[0].collections
    named = plots.scores_against({"": {"relu": [0.5], "tanh": [0.4]}}, "activation", "accuracy")
    assert lines_between(named) == 0


def test_settings_that_are_no_numbers_stand_side_by_side():
    figure = plots.scores_against({"": {"relu": [0.5], "tanh": [0.4]}}, "activation", "accuracy")
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["relu", "tanh"]


def test_learning_curves_of_trials_put_the_best_in_front():
    def lines(value):
        return [{"epoch": e, "train_loss": value, "train_accuracy": value, "val_accuracy": None}
                for e in (1, 2)]  # fmt: skip

    figure = plots.learning_curves({"0": lines(0.1), "1": lines(0.2), "2": []}, "accuracy", "0")
    assert len(figure.axes) == 2
    curves = [np.asarray(line.get_ydata()).tolist() for line in figure.axes[1].lines]
    assert [curve for curve in curves if curve] == [[0.2, 0.2], [0.1, 0.1]]


def test_a_lane_that_goes_astray_leaves_the_others_readable():
    def losses(*values):
        return [{"epoch": i, "train_loss": v, "val_accuracy": 0.5} for i, v in enumerate(values, 1)]

    near = plots.learning_curves({"0": losses(2.0, 1.0), "1": losses(1.5, 1.2)}, "accuracy")
    far = plots.learning_curves({"0": losses(2.0, 1.0), "1": losses(1e14, 1e6)}, "accuracy")
    assert [ax.get_yscale() for ax in near.axes] == ["linear", "linear"]
    assert [ax.get_yscale() for ax in far.axes] == ["log", "linear"]
