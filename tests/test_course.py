"""What a run makes of its epochs' numbers."""

import dataclasses
import math

import numpy as np
import pytest

from jaxcv import Adam, Experiment, Piecewise, SparseReconstruction, models
from jaxcv.course import Course, Numbers, best_epoch
from jaxcv.errors import Diverged

EXPERIMENT = Experiment(model=models.Softmax(), optimizer=Adam(0.5), epochs=9)


def totals(loss: float = 1.0, correct: int = 5) -> dict[str, np.generic]:
    return {"loss": np.float32(10 * loss), "correct": np.int32(correct), "count": np.int32(10)}


def numbers(epoch: int, **changes) -> Numbers:
    plain = Numbers(epoch, 4 * epoch, totals(), totals(), {}, 2.0, 40)
    return dataclasses.replace(plain, **changes)


def followed(course: Course, correct: list[int]) -> Course:
    """After epochs with so many right answers among ten validation images."""
    for epoch, count in enumerate(correct, 1):
        validation = totals(correct=count)
        course, _ = course.after(
            numbers(epoch, validation=validation), 4, lambda epoch=epoch: ({"w": epoch}, {})
        )
    return course


def test_the_best_is_the_first_of_the_highest():
    best = followed(Course(EXPERIMENT), [3, 6, 5, 6, 2]).best
    assert best is not None
    assert (best.epoch, best.score, best.params) == (2, 0.6, {"w": 2})


@pytest.mark.parametrize(
    ("scores", "epoch"), [([0.3, 0.6, 0.5, 0.6], 2), ([0.1, 0.2], 2), ([None] * 3, 3), ([], 0)]
)
def test_the_best_epoch_is_read_off_the_lines(scores, epoch):
    lines = [{"val_accuracy": score, "val_loss": 1.0} for score in scores]
    assert best_epoch(EXPERIMENT, lines) == epoch


def test_the_best_epoch_of_a_cost_has_the_smallest():
    experiment = dataclasses.replace(EXPERIMENT, loss=SparseReconstruction())
    assert best_epoch(experiment, [{"val_cost": cost} for cost in (3.0, 1.0, 2.0)]) == 2


def test_parameters_are_copied_only_where_they_are_the_best():
    course = followed(Course(EXPERIMENT), [3, 6])

    def fail():
        raise AssertionError("copied in vain")

    course.after(numbers(3, validation=totals(correct=6)), 4, fail)


def test_a_run_is_over_after_its_epochs_or_when_patience_runs_out():
    course = followed(Course(EXPERIMENT), [3, 6, 5, 5])
    assert not course.over(8, 4)
    assert course.over(9, 4)
    patient = Course(dataclasses.replace(EXPERIMENT, patience=2), course.best)
    assert not patient.over(3, 4)
    assert patient.over(4, 4)


@pytest.mark.parametrize(("part", "steps"), [(0.0005, 1), (0.01, 2), (0.0001, 1000), (0.25, 4)])
def test_a_part_of_an_epoch_without_a_step_is_none(part, steps):
    begun = Course(dataclasses.replace(EXPERIMENT, epochs=2 + part))
    assert not begun.over(1, steps)
    assert begun.over(2, steps) == (part * steps < 1e-3)
    assert begun.over(3, steps)


def test_the_line_of_an_epoch():
    course, record = Course(EXPERIMENT).after(numbers(3), 4, lambda: ({}, {}))
    assert (record["epoch"], record["step"]) == (3, 12)
    assert (record["train_accuracy"], record["val_accuracy"]) == (0.5, 0.5)
    assert (record["learning_rate"], record["images_per_second"]) == (0.5, 20.0)
    assert course.best is not None
    _, alone = Course(EXPERIMENT).after(numbers(3, validation=None), 4, lambda: ({}, {}))
    assert alone["val_accuracy"] is None


def test_the_learning_rate_is_of_the_step():
    schedule = Piecewise(boundaries=(2.0,), factors=(0.1,))
    course = Course(dataclasses.replace(EXPERIMENT, schedule=schedule))
    assert course.learning_rate(7, 4) == 0.5
    assert course.learning_rate(8, 4) == pytest.approx(0.05)


@pytest.mark.parametrize("field", ["totals", "validation"])
def test_a_loss_that_is_not_finite_ends_the_course(field):
    bad = numbers(2, **{field: totals(loss=math.nan)})
    with pytest.raises(Diverged, match="epoch 2"):
        Course(EXPERIMENT).after(bad, 4, lambda: ({}, {}))
