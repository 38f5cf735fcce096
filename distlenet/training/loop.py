"""The training loop: a generator of events, the same on every rank.

    for event in train(state, leaves, epoch_end, schedule, epochs, comm, signals):
        for listener in listeners:  # the root's; other ranks have none
            listener.on(event)

A step: every rank computes the leaves of its own shards, the reduction tree adds up the leaves of all
shards, and every rank applies the same update to the same parameters.
"""

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from distlenet.activity import advance, phase
from distlenet.data.leaves import Leaves
from distlenet.errors import DataError
from distlenet.nn.schedules import Schedule
from distlenet.parallel import Communicator
from distlenet.training.bus import Bus
from distlenet.training.curvature import refresh_curvature
from distlenet.training.epoch_end import EpochEnd
from distlenet.training.events import Event, SaveAsked, StepDone
from distlenet.training.non_finite import explain_non_finite, explain_spoiled
from distlenet.training.recorder import Recorder
from distlenet.training.replicas import check_replicas
from distlenet.training.signals import Signals, Stopped, stopped_by
from distlenet.training.state import Running, Snapshot, TrainState, is_finite


def train(
    state: TrainState,
    leaves: Leaves,
    epoch_end: EpochEnd,
    schedule: Schedule,
    epochs: int,
    comm: Communicator,
    signals: Signals,
    save_steps: int = 0,
    recorder: Recorder | None = None,
) -> Iterator[Event]:
    """Train from ``state``'s position to the end of epoch ``epochs`` - 1, changing ``state``.

    ``schedule`` maps the step since the start of the run to the learning rate; ``save_steps`` asks for a
    checkpoint every so many steps (0: after epochs only); ``recorder`` remembers the last steps. Raises
    NonFiniteError, before the update, when the loss or a gradient is not finite, and before the state is saved, when
    an update spoiled it; DataError when rows that a rank streams cannot be read; Stopped when any rank got a signal;
    ReplicaError when ranks disagree.
    """
    plan = leaves.plan
    bus, recorder = Bus(len(leaves.shards), state.net.size), recorder or Recorder()
    while state.progress.epoch < epochs:
        epoch_start, images, seconds, exchange = time.perf_counter(), 0, 0.0, 0.0
        while state.progress.step < plan.steps_per_epoch:
            try:
                refresh_curvature(state, leaves, bus, comm)
                event, tail = take_step(state, leaves, bus, schedule, comm, signals, recorder)
            except DataError as error:  # of every rank; once the file is repaired, the run resumes here
                yield from save(state, comm, str(error))
                raise
            images, seconds, exchange = (
                images + event.count,
                seconds + event.seconds,
                exchange + event.exchange_seconds,
            )
            yield event
            if stop := stopped_by(tail):
                yield from save(state, comm, str(stop))
                raise stop
            if tail["saves"] or (save_steps and state.progress.steps % save_steps == 0):
                yield from save(state, comm, "asked for")
        try:
            share = exchange / seconds if seconds else 0.0
            yield from epoch_end.run(state, schedule, time.perf_counter() - epoch_start, images, share)
        except (Stopped, DataError) as reason:  # of every rank, in the evaluation, which a resume does again
            yield from save(state, comm, str(reason))
            raise
        state.progress = replace(state.progress, epoch=state.progress.epoch + 1, step=0, running=Running())
        if state.progress.watch.calm and state.finite:
            state.good = Snapshot.of(state, spare=state.good)
        yield from save(state, comm, "epoch")


@phase("taking a step")
def take_step(
    state: TrainState,
    leaves: Leaves,
    bus: Bus,
    schedule: Schedule,
    comm: Communicator,
    signals: Signals,
    recorder: Recorder,
) -> tuple[StepDone, dict[str, float]]:
    """Take one step: gradient of the global batch, update, position. Returns the event and the bus's tail."""
    begun, exchanged = time.perf_counter(), comm.exchange_seconds
    compute_leaves(state, leaves, bus, signals)
    total = comm.allreduce_leaves(bus.leaves, leaves.plan.shards)
    if not is_finite(total):
        raise explain_non_finite(state, leaves, comm)
    gradient, tail = bus.split(total)
    gradient /= np.float32(tail["count"])  # the sum over the batch becomes its mean
    lr, loss = state.progress.factor * schedule(state.progress.steps), tail["loss"] / tail["count"]
    recorder.note(state, loss, gradient)
    state.update(gradient, lr)
    state.progress.running.add(tail["loss"], tail["correct"], tail["count"])
    state.progress.watch.add(loss, tail["correct"] / tail["count"])
    event = StepDone(
        epoch=state.progress.epoch,
        step=state.progress.step - 1,
        lr=lr,
        loss=loss,
        accuracy=tail["correct"] / tail["count"],
        count=int(tail["count"]),
        seconds=time.perf_counter() - begun,
        exchange_seconds=comm.exchange_seconds - exchanged,
    )
    return event, tail


@phase("computing")
def compute_leaves(state: TrainState, leaves: Leaves, bus: Bus, signals: Signals) -> None:
    """Fill the bus: the gradient sum, loss, hits and count of each owned shard's micro-batch."""
    votes = signals.votes()
    for slot, shard in enumerate(leaves.shards):
        try:
            x, labels = leaves.load(state.progress.epoch, state.progress.step, shard)
        except DataError:
            bus.leaves[slot] = np.nan  # so that all ranks stop at this step, and ask again what is wrong
            continue
        if not len(labels):
            bus.clear(slot)
            bus.set_tail(slot, **votes)
        else:
            loss, correct = state.net.loss_and_grad(x, labels, bus.gradient(slot))
            bus.set_tail(slot, loss=loss, correct=correct, count=len(labels), **votes)
        advance()
        votes = {}  # once a rank


def save(state: TrainState, comm: Communicator, reason: str) -> Iterator[Event]:
    """Ask the root's keeper to save, once all ranks are known to hold the same state, and a sound one.

    Raises ReplicaError or NonFiniteError, on every rank, before anything is written.
    """
    check_replicas(state, comm)
    if not state.finite:
        raise explain_spoiled(state)
    yield SaveAsked(reason)
