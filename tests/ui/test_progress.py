import math

import pytest

from distlenet.training.events import EpochDone, RunStarted, Score, StepDone
from distlenet.ui.progress import Progress


def steps(progress, count, **changes):
    for i in range(count):
        values = {"epoch": 0, "step": i, "lr": 0.1, "loss": 0.5, "accuracy": 0.9, "count": 100}
        progress.add(StepDone(**(values | {"seconds": 0.01, "exchange_seconds": 0.002} | changes)))


def test_progress_follows_the_steps():
    progress = Progress()
    progress.add(RunStarted("", {}, epochs=2, steps_per_epoch=100, epoch=0, step=0))
    assert progress.seconds_left is None
    assert progress.running_loss is None and progress.running_accuracy is None and progress.step_seconds is None
    steps(progress, 50)
    assert progress.images_per_second == pytest.approx(10000)
    assert progress.exchange_share == pytest.approx(0.2)
    assert progress.running_loss == pytest.approx(0.5)
    assert progress.running_accuracy == pytest.approx(0.9)
    assert progress.fraction == 0.25
    assert progress.seconds_left == pytest.approx(1.5)


def test_progress_counts_the_remaining_evaluations():
    progress = Progress()
    progress.add(RunStarted("", {}, epochs=3, steps_per_epoch=100, epoch=0, step=0))
    steps(progress, 100)
    score = Score(0.1, 0.98, 10)
    done = EpochDone(0, 100, 0.1, score, score, score, None, 1.0, 0.4, 1e4, 0.2)
    progress.add(done)
    assert progress.is_best(done)
    assert progress.seconds_left == pytest.approx(2 * (1.0 + 0.4))


def test_the_later_epoch_wins_a_tie():  # as for the checkpoints
    progress = Progress()
    for epoch, accuracy, best in ((0, 0.98, True), (1, 0.97, False), (2, 0.98, True)):
        done = EpochDone(epoch, 100, 0.1, *3 * [Score(0.1, accuracy, 10)], None, 1.0, 0.4, 1e4, 0.2)
        progress.add(done)
        assert progress.is_best(done) is best
    assert (progress.best, progress.best_epoch) == (0.98, 2)


def test_accuracy_starts_again_with_each_epoch():
    progress = Progress()
    steps(progress, 5, accuracy=0.1)
    steps(progress, 5, epoch=1, accuracy=0.8)
    assert progress.running_accuracy == pytest.approx(0.8)


def test_a_nan_does_not_stay_in_the_average():
    progress = Progress()
    steps(progress, 3)
    steps(progress, 1, loss=math.nan)
    assert progress.running_loss == pytest.approx(0.5)


def test_time_passes_through_resumed_and_healed_parts():
    now = [100.0]
    progress = Progress(lambda: now[0])
    assert progress.elapsed == 0
    for seconds in (100.0, 130.0):
        now[0] = seconds
        progress.add(RunStarted("", {}, epochs=2, steps_per_epoch=100, epoch=0, step=0))
    assert progress.elapsed == 30
