"""The training loop: a generator of events, the same on every rank.

    for event in train(state, leaves, evaluator, schedule, epochs, comm, signals):
        for listener in listeners:  # the root's; other ranks have none
            listener.on(event)

A step: every rank computes the leaves of its own shards, the reduction tree adds up the leaves of all
shards, and every rank applies the same update to the same parameters.
"""

import time
from collections.abc import Iterator

import numpy as np

from distlenet.data.leaves import Leaves
from distlenet.errors import DistlenetError
from distlenet.nn.schedules import Schedule
from distlenet.parallel import Communicator
from distlenet.training.bus import Bus
from distlenet.training.diagnosis import explain_non_finite
from distlenet.training.epoch_end import EpochEnd
from distlenet.training.events import Event, SaveAsked, StepDone
from distlenet.training.state import Running, TrainState
from distlenet.training.stopping import Signals


class Stopped(DistlenetError):
    """The run was asked to end: all ranks leave after the same step, with everything saved."""

    agreed = True

    def __init__(self, reason: str, exit_code: int) -> None:
        super().__init__(reason)
        self.exit_code = exit_code


def train(
    state: TrainState,
    leaves: Leaves,
    epoch_end: EpochEnd,
    schedule: Schedule,
    epochs: int,
    comm: Communicator,
    signals: Signals,
) -> Iterator[Event]:
    """Train from ``state``'s position to the end of epoch ``epochs`` - 1, changing ``state``.

    ``schedule`` maps the step since the start of the run to the learning rate. Raises NonFiniteError,
    before the update, when the loss or a gradient is not finite; Stopped when any rank got a signal.
    """
    net, plan = state.net, leaves.plan
    bus = Bus(len(leaves.shards), net.size)
    while state.epoch < epochs:
        epoch_start, images = time.perf_counter(), 0
        seconds = exchange = 0.0
        while state.step < plan.steps_per_epoch:
            begun, exchanged = time.perf_counter(), comm.exchange_seconds
            compute_leaves(state, leaves, bus, signals)
            total = comm.reduce(bus.leaves, plan.shards)
            gradient, tail = bus.split(total)
            if not np.isfinite(total).all():
                raise explain_non_finite(state, leaves, comm)
            lr = schedule(state.steps)
            gradient /= np.float32(tail["count"])
            state.optimizer.step(net.theta, gradient, lr)
            state.running.loss += tail["loss"]
            state.running.correct += tail["correct"]
            state.running.count += tail["count"]
            state.step += 1
            event = StepDone(
                epoch=state.epoch,
                step=state.step - 1,
                lr=lr,
                loss=tail["loss"] / tail["count"],
                accuracy=tail["correct"] / tail["count"],
                count=int(tail["count"]),
                seconds=time.perf_counter() - begun,
                exchange_seconds=comm.exchange_seconds - exchanged,
            )
            seconds += event.seconds
            exchange += event.exchange_seconds
            images += event.count
            yield event
            if tail["interrupts"] or tail["terminations"] or tail["saves"]:
                yield from answer_signals(tail)
        # no step of this epoch may be left: a run that was stopped right after its last one goes on here
        lr, share = schedule(state.steps - 1), exchange / seconds if seconds else 0.0
        yield from epoch_end.run(state, lr, time.perf_counter() - epoch_start, images, share)
        state.epoch, state.step, state.running = state.epoch + 1, 0, Running()
        yield SaveAsked("epoch")


def compute_leaves(state: TrainState, leaves: Leaves, bus: Bus, signals: Signals) -> None:
    """Fill the bus: the gradient sum, loss, hits and count of each owned shard's micro-batch."""
    votes = signals.votes()
    for slot, shard in enumerate(leaves.shards):
        x, labels = leaves.load(state.epoch, state.step, shard)
        if not len(labels):
            bus.clear(slot)
            bus.set_tail(slot, **votes)
        else:
            loss, correct = state.net.loss_and_grad(x, labels, bus.gradient(slot))
            bus.set_tail(slot, loss=loss, correct=correct, count=len(labels), **votes)
        votes = {}  # once a rank


def answer_signals(tail: dict[str, float]) -> Iterator[Event]:
    """Save, and end the run if that was asked for: every rank sees the same votes after the same step."""
    ends = [("interrupts", "SIGINT", 130), ("terminations", "SIGTERM", 143)]
    for votes, name, code in ends:
        if tail[votes]:
            yield SaveAsked(f"stopped by {name}")
            raise Stopped(f"stopped by {name}", code)
    yield SaveAsked("SIGUSR1")
