"""The training loop: a generator of events, the same on every rank.

    for event in train(state, leaves, epoch_end, course, comm):
        for listener in listeners:  # the root's; other ranks have none
            listener.on(event)

A step's batch has one part for each shard, called a leaf. Every rank computes the gradients of the leaves of its own
shards, the reduction tree adds up those of all shards, and every rank applies the same update to the same parameters.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from distlenet.activity import phase
from distlenet.data.leaves import Leaves
from distlenet.errors import DataError, OwnCodeError
from distlenet.nn.schedules import Schedule
from distlenet.numerics import is_finite
from distlenet.parallel import Communicator
from distlenet.training.bus import Bus, compute_leaves
from distlenet.training.curvature import refresh_curvature
from distlenet.training.evaluation import EpochEnd, EpochPace
from distlenet.training.events import Event, SaveAsked, StepDone
from distlenet.training.non_finite import explain_non_finite, explain_spoiled
from distlenet.training.postmortem import Recorder
from distlenet.training.signals import Signals, Stopped, obey
from distlenet.training.state import TrainState, check_replicas


@dataclass(frozen=True)
class Course:
    """What a run trains by: schedule, length, and who notes signals and steps."""

    schedule: Schedule  # the learning rate, by the step since the start of the run
    epochs: int
    signals: Signals
    save_steps: int = 0  # steps between checkpoints, 0: after epochs only
    recorder: Recorder = field(default_factory=Recorder)


def train(
    state: TrainState, leaves: Leaves, epoch_end: EpochEnd, course: Course, comm: Communicator
) -> Iterator[Event]:
    """Train from ``state``'s position to the end of the last epoch, changing ``state``.

    Raises, on every rank: NonFiniteError, before the update, when the loss or a gradient is not finite, and before the
    state is saved, when an update spoiled it; DataError when rows that a rank streams cannot be read; OwnCodeError when
    code of the user's own fails; Stopped when any rank got a signal; ReplicaError when ranks disagree.
    """
    bus = Bus(len(leaves.shards), state.net.size)
    try:
        while state.progress.epoch < course.epochs:
            pace = EpochPace()
            while state.progress.step < leaves.plan.steps_per_epoch:
                step, votes = take_step(state, leaves, bus, course, comm)
                pace.add(step)
                yield step
                obey(votes)
                if votes["saves"] or (course.save_steps and state.progress.steps % course.save_steps == 0):
                    yield from save(state, comm, "asked for")
            yield from epoch_end.run(state, course.schedule, pace)
            state.end_epoch()
            yield from save(state, comm, "epoch")
    except (Stopped, DataError, OwnCodeError) as reason:  # a resumed run repeats the interrupted step or evaluation
        if reason.agreed:  # raised on every rank: saving compares all ranks, one alone would wait for ever
            yield from save(state, comm, str(reason))
        raise


@phase("taking a step")
def take_step(
    state: TrainState, leaves: Leaves, bus: Bus, course: Course, comm: Communicator
) -> tuple[StepDone, dict[str, float]]:
    """Take one step: gradient of the global batch, update, position. Returns the event and the votes of all ranks."""
    refresh_curvature(state, leaves, bus, comm)
    start, exchanged = time.perf_counter(), comm.exchange_seconds
    compute_leaves(state, leaves, bus, course.signals)
    total = comm.allreduce_leaves(bus.leaves, leaves.plan.shards)
    if not is_finite(total):
        raise explain_non_finite(state, leaves, comm)
    gradient, tail = bus.split(total)
    gradient /= np.float32(tail["count"])  # the sum over the batch becomes its mean
    loss, accuracy = tail["loss"] / tail["count"], tail["correct"] / tail["count"]
    lr = state.progress.factor * course.schedule(state.progress.steps)  # the factor is halved when a run is healed
    course.recorder.note(state, loss, gradient)
    state.update(gradient, lr, tail["loss"], tail["correct"], tail["count"])
    event = StepDone(
        epoch=state.progress.epoch,
        step=state.progress.step - 1,
        lr=lr,
        loss=loss,
        accuracy=accuracy,
        count=int(tail["count"]),
        seconds=time.perf_counter() - start,
        exchange_seconds=comm.exchange_seconds - exchanged,
    )
    return event, tail


def save(state: TrainState, comm: Communicator, reason: str) -> Iterator[Event]:
    """Ask the root's keeper to save, once all ranks are known to hold the same state, and a sound one.

    Raises ReplicaError or NonFiniteError, on every rank, before anything is written.
    """
    check_replicas(state, comm)
    if not state.finite:
        raise explain_spoiled(state)
    yield SaveAsked(reason)
