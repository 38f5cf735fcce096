"""The training loop: a generator of events, the same on every rank.

    for event in train(state, leaves, epoch_end, options, comm):
        for listener in listeners:  # only the root rank has any
            listener.on(event)

A step's batch has one part per shard, called a leaf. Every rank computes the gradients of its own shards' leaves. The
reduction tree adds up the gradients of all shards. Then every rank applies the same update to the same parameters.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from distlenet.activity import phase
from distlenet.data.leaves import Leaves
from distlenet.errors import DataError, OwnCodeError, Stopped
from distlenet.nn.schedules import Schedule
from distlenet.numerics import is_finite
from distlenet.parallel import Communicator
from distlenet.training.audit import Audits
from distlenet.training.bus import Bus, check_count, compute_leaves, refresh_curvature
from distlenet.training.evaluation import EpochEnd, EpochPace
from distlenet.training.events import Event, SaveRequested, StepDone
from distlenet.training.postmortem import Recorder, explain_non_finite, explain_spoiled
from distlenet.training.signals import Signals, obey
from distlenet.training.state import TrainState, check_replicas


@dataclass(frozen=True)
class LoopOptions:
    """How long to train, by which learning rates, and who watches for signals and records steps."""

    schedule: Schedule  # learning rate as a function of the steps since the start of the run
    epochs: int
    signals: Signals
    save_steps: int = 0  # steps between checkpoints; 0: only after epochs
    recorder: Recorder = field(default_factory=Recorder)
    audits: Audits = field(default_factory=Audits)


def train(
    state: TrainState, leaves: Leaves, epoch_end: EpochEnd, options: LoopOptions, comm: Communicator
) -> Iterator[Event]:
    """Train from ``state``'s position to the end of the last epoch, updating ``state`` in place.

    Raises the same error on every rank:
        NonFiniteError: the loss or a gradient is not finite (raised before the update), or an update made the state
            non-finite (raised before it is saved).
        DataError: a rank cannot read its images.
        OwnCodeError: user-defined code fails.
        Stopped: any rank received a signal to end.
        ReplicaError: the ranks no longer hold the same state, or a sum is not that of the step's images (raised before
            the update).
        AuditError: two ranks computed different bits from the same images (raised before the update).
    """
    bus = Bus(len(leaves.shards), state.net.size, options.audits.room(leaves.plan.shards))
    try:
        while state.progress.epoch < options.epochs:
            pace = EpochPace()
            while state.progress.step < leaves.plan.steps_per_epoch:
                step, votes = take_step(state, leaves, bus, options, comm)
                pace.add(step)
                yield step
                obey(votes)
                if votes["saves"] or (options.save_steps and state.progress.steps % options.save_steps == 0):
                    yield from save(state, comm, "requested")
            yield from epoch_end.run(state, options.schedule, pace)
            state.end_epoch()
            yield from save(state, comm, "epoch")
    except (Stopped, DataError, OwnCodeError) as reason:  # a resumed run repeats the interrupted step or evaluation
        if reason.agreed:  # saving is a collective operation: one rank alone would wait forever
            yield from save(state, comm, str(reason))
        raise


@phase("taking a step")
def take_step(
    state: TrainState, leaves: Leaves, bus: Bus, options: LoopOptions, comm: Communicator
) -> tuple[StepDone, dict[str, float]]:
    """Take one step: compute the global batch's gradient, update the parameters, advance the position.

    Returns the event and the summed votes of all ranks (saves and stops requested).
    """
    refresh_curvature(state, leaves, bus, comm)
    start, exchanged = time.perf_counter(), comm.exchange_seconds
    loading = compute_leaves(state, leaves, bus, options.signals)
    computing = time.perf_counter() - start - loading
    options.audits.compute(state, leaves, bus, comm)
    total = comm.allreduce_leaves(bus.leaves, leaves.plan.shards)
    options.audits.judge(state, leaves, bus, total, comm)
    if not is_finite(total):
        raise explain_non_finite(state, leaves, comm)
    gradient, tail = bus.split(total)
    check_count(tail, state, leaves)
    gradient /= np.float32(tail["count"])  # from the sum over the batch to the mean
    loss, accuracy = tail["loss"] / tail["count"], tail["correct"] / tail["count"]
    lr = state.progress.factor * options.schedule(state.progress.steps)  # healing a diverged run halves the factor
    options.recorder.note(state, loss, gradient)
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
        load_seconds=loading,
        compute_seconds=computing,
    )
    return event, tail


def save(state: TrainState, comm: Communicator, reason: str) -> Iterator[Event]:
    """Check that all ranks hold the same finite state, then ask the root's keeper to save it.

    Raises ReplicaError or NonFiniteError on every rank, before anything is written.
    """
    check_replicas(state, comm)
    if not state.finite:
        raise explain_spoiled(state)
    yield SaveRequested(reason)
