"""Evaluation: fixed chunks on any number of ranks, a signal in the middle, figures, and the best epoch."""

from dataclasses import replace

import numpy as np
import pretend
import pytest
from checkpoints import new_state

from distlenet.data.augmentation import Resampler
from distlenet.data.file.dataset_file import open_digit_file
from distlenet.errors import Stopped
from distlenet.parallel import Serial, owned_shards
from distlenet.reader import per_class
from distlenet.training.evaluation import (
    DatasetSlice,
    EpochEnd,
    EpochPace,
    Result,
    accuracy,
    evaluate,
)
from distlenet.training.signals import Signals
from distlenet.training.state import Running


@pytest.fixture
def part(digits):
    file = open_digit_file(digits)
    return DatasetSlice(file, "test", 0, file.length("test"))  # 1,350 images


@pytest.fixture
def net():
    return new_state().net


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
def test_chunks_of_40(part, ranks):
    def sizes(comm):
        return [
            (chunk, len(images)) for chunk, images, labels in part.read(owned_shards(comm.rank, comm.size, part.chunks))
        ]

    found = [sizes(Serial())] if ranks == 1 else pretend.run(ranks, sizes)
    assert [size for own in found for size in own] == [*((chunk, 40) for chunk in range(33)), (33, 30)]


def test_a_signal_is_seen_at_the_next_chunk(part, net, monkeypatch):
    signals, forward, calls = Signals(), net.forward, []

    def interrupted(x):
        calls.append(x.shape[-1])
        if len(calls) == 2:
            signals.ask_to_stop()
        return forward(x)

    monkeypatch.setattr(net, "forward", interrupted)
    with pytest.raises(Stopped):
        evaluate(net, part, Resampler(28, 28, 0.13, 0.31), Serial(), signals)
    assert calls == [40, 40]


def test_figures_of_a_small_matrix():
    confusion = np.array([[3, 1, 0], [0, 4, 0], [1, 1, 0]])
    assert accuracy(confusion) == 0.7
    figures = per_class(confusion)
    np.testing.assert_allclose(figures["precision"], [3 / 4, 4 / 6, 0])
    np.testing.assert_allclose(figures["recall"], [3 / 4, 1, 0])
    np.testing.assert_allclose(figures["f1"], [3 / 4, 0.8, 0])
    np.testing.assert_array_equal(figures["support"], [4, 4, 2])
    assert all(values.dtype == np.float64 for values in figures.values())


def test_undefined_is_zero():
    empty = np.zeros((4, 4), np.int64)
    assert accuracy(empty) == 0
    for values in per_class(empty).values():
        np.testing.assert_array_equal(values, np.zeros(4))


def test_f1_is_the_harmonic_mean():
    confusion = np.random.default_rng(1).integers(1, 50, (10, 10))
    figures = per_class(confusion)
    p, r = figures["precision"], figures["recall"]
    np.testing.assert_allclose(figures["f1"], 2 * p * r / (p + r))


class Marked(EpochEnd):
    """Does not really evaluate: a slice is (number of right images out of 100,)."""

    def evaluate(self, net, part):
        return Result(1.0, np.array([[part[0], 0], [100 - part[0], 0]]))


@pytest.mark.parametrize(
    ("right", "best"),
    [
        ([50, 60, 70], [0, 1, 2]),
        ([70, 60, 50], [0, 0, 0]),
        ([60, 60, 60], [0, 1, 2]),  # the later epoch wins a tie, since its learning rate is lower
        ([50, 70, 60, 70, 69], [0, 1, 1, 3, 3]),
        ([0, 0], [0, 1]),
    ],
)
@pytest.mark.parametrize("average", [0.0, 0.9])
def test_the_best_epoch(right, best, average):
    state = new_state(average=average)
    for epoch, (validation, expected) in enumerate(zip(right, best, strict=True)):
        state.progress = replace(state.progress, epoch=epoch, steps=epoch + 1, running=Running(1.0, 1.0, 1.0))
        state.averaged[:] = epoch
        ends = Marked((99 - epoch,), (validation,), (10 * epoch,), None, Serial(), Signals())  # others do not count
        (event,) = ends.run(state, lambda step: 0.1, EpochPace(images=100))
        assert event.validation.accuracy == validation / 100
        assert state.progress.best_epoch == expected
        assert state.progress.best_accuracy == right[expected] / 100
        assert (state.best_theta == expected).all()


def test_without_validation_nothing_is_chosen():
    state = new_state()
    state.progress = replace(state.progress, steps=1, running=Running(1.0, 1.0, 1.0))
    list(Marked((90,), None, (90,), None, Serial(), Signals()).run(state, lambda step: 0.1, EpochPace(images=100)))
    assert state.progress.best_epoch is state.progress.best_accuracy is state.best_theta is None
