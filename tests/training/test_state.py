"""The state of a run: all of it passes through files, broadcasts and going back."""

from dataclasses import fields

import numpy as np
import pretend
import pytest
from checkpoints import FACTS, new_state

from distlenet.config import Config
from distlenet.errors import RanksLost
from distlenet.parallel import Serial
from distlenet.runs.checkpoint_file import read_checkpoint, write_checkpoint
from distlenet.training.loss_watch import LossWatch
from distlenet.training.state import Progress, Running, Snapshot, TrainState, broadcast_state

KEPT = {"factor", "divergences"}  # when a run goes back: without them it would heal forever


def example() -> Progress:
    """A progress without default values; a new field must be added here."""
    return Progress(
        watch=LossWatch(2.3, 1.1, 1.0, 0.3, 4, 5),
        epoch=2,
        step=3,
        steps=25,
        running=Running(1.5, 2.0, 3.0),
        history=[{"epoch": epoch, "step": 11 * (epoch + 1)} for epoch in range(2)],
        best_accuracy=0.5,
        best_epoch=1,
        factor=0.5,
        divergences=[{"kind": "dead"}],
    )


def later() -> Progress:
    return Progress(
        watch=LossWatch(2.3, 9.0, 8.0, 0.1, 7, 8),
        epoch=4,
        step=0,
        steps=44,
        running=Running(),
        history=[{"epoch": epoch, "step": 11 * (epoch + 1)} for epoch in range(4)],
        best_accuracy=0.75,
        best_epoch=3,
        factor=0.25,
        divergences=[{"kind": "dead"}, {"kind": "spike"}],
    )


def fresh() -> TrainState:
    return new_state(optimizer="adam", average=0.9)


def fill(state: TrainState, seed: int) -> None:
    """Fill every vector with different numbers."""
    state.best_theta = np.zeros_like(state.net.theta)
    for place, vector in enumerate(state.vectors().values()):
        vector[:] = np.random.default_rng([seed, place]).standard_normal(vector.size)


def filled() -> TrainState:
    """A state within an epoch, with a different good state; no two numbers are equal."""
    state = fresh()
    fill(state, 1)
    state.progress = example()
    state.good = Snapshot.of(state)
    fill(state, 2)
    state.progress = later()
    state.optimizer.steps = state.progress.steps
    return state


def content(moment: Snapshot) -> tuple:
    return moment.progress, {name: vector.tobytes() for name, vector in moment.vectors.items()}


def whole(state: TrainState) -> list:
    return [*map(content, state.moments()), state.optimizer.steps]


def test_every_field_is_tested():
    default = fresh().progress
    for item in fields(Progress):
        assert getattr(example(), item.name) != getattr(default, item.name), item.name
        assert getattr(example(), item.name) != getattr(later(), item.name), item.name
    names = {"theta", "best/theta", "optimizer/mean", "optimizer/square", "optimizer/average"}
    assert set(filled().vectors()) == names


def test_a_file_holds_the_whole_state(tmp_path):
    after = fresh()
    write_checkpoint(tmp_path / "last.h5", filled(), Config(optimizer="adam"), FACTS)
    read_checkpoint(tmp_path / "last.h5").restore(after)
    assert whole(after) == whole(filled())


def test_a_broadcast_carries_the_whole_state():
    def job(comm):
        state = filled() if comm.rank == 2 else fresh()
        theta = state.net.theta
        broadcast_state(state, comm, source=2)
        assert state.net.theta is theta  # the layers hold views of it
        return whole(state)

    assert pretend.run(3, job) == [[*whole(filled())]] * 3


def test_going_back():
    state, before = filled(), later()
    state.go_back()
    for item in fields(Progress):
        expected = getattr(before if item.name in KEPT else example(), item.name)
        assert getattr(state.progress, item.name) == expected, item.name
    assert content(Snapshot(state.progress, state.vectors()))[1] == content(filled().good)[1]
    assert state.optimizer.steps == 25
    state.progress.running.add(1.0, 1.0, 1.0)  # it may go back to the same state again
    state.net.theta += 1
    assert content(state.good) == content(filled().good)


class Dying(Serial):
    """Loses ranks before the message number ``last`` of a broadcast."""

    def __init__(self, last: int) -> None:
        super().__init__()
        self.left = last

    def _message(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise RanksLost("lost")

    def broadcast_array(self, array, source=0):
        self._message()
        array[:] = 1

    def allgather(self, value):
        self._message()
        return [value]


@pytest.mark.parametrize("last", [0, 4, 9, 10])
def test_half_a_broadcast_changes_nothing(last):
    state = filled()
    with pytest.raises(RanksLost):
        broadcast_state(state, Dying(last))
    assert whole(state) == whole(filled())
