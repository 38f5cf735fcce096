"""``train --trace``: records the timeline on every rank, and gathers it into one file.

Training, network and exchange know nothing of it. For as long as the timeline is recorded, their methods are replaced
by timed ones; afterwards nothing is left of it.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from distlenet.nn import Net
from distlenet.nn.layer import Direction, Layer
from distlenet.parallel import Communicator
from distlenet.runs.experiment import Experiment
from distlenet.runs.root import OtherRank
from distlenet.runs.timeline import Tracer, now
from distlenet.runs.usage import machine
from distlenet.training.events import EpochDone, Event, SaveRequested, StepDone
from distlenet.training.lost_ranks import Survivor
from distlenet.training.state import TrainState

ROUNDS = 20  # messages to each other host and back, by which its clock is read


class Untraced:
    """Stands in for Tracing if no timeline is wanted."""

    def follow(self, events: Iterator[Event], experiment: Experiment, survivor: Survivor) -> Iterator[Event]:
        """Return ``events``."""
        return events

    def finish(self) -> Iterator[Event]:
        """There is nothing to write."""
        return iter(())

    def close(self) -> None:
        """There is nothing to undo."""


class Tracing(Untraced):
    """The timeline of the next ``steps`` steps.

    ``root`` returns this rank's share of the root's work, as of now: another rank may become the root. The timeline of
    a lost rank is lost too.
    """

    def __init__(self, steps: int, comm: Communicator, root: Callable[[], OtherRank]) -> None:
        self._steps, self._comm, self._root = steps, comm, root
        # as at the start, whoever is lost
        self._process, self._label = comm.rank, f"rank {comm.rank} on {os.uname().nodename}"
        self._tracer, self._replaced = Tracer(), ExitStack()
        self._clock, self._last = Clock(0, 0, 0), 0
        self._started = self._written = False

    def follow(self, events: Iterator[Event], experiment: Experiment, survivor: Survivor) -> Iterator[Event]:
        """Yield ``events`` while the timeline is recorded; write it after its last step. May be called again."""
        self._agree()
        if not self._started:
            self._clock = read_clocks(self._comm)
            self._last = experiment.state.progress.steps + self._steps
            self._started = True
            self._replace(experiment, survivor)
        if not self._written:
            for event in self._timed(events, experiment.state):
                yield event
                if isinstance(event, StepDone) and experiment.state.progress.steps >= self._last:
                    yield from self._gather()
                    break
        for event in events:
            if isinstance(event, StepDone):
                self._tracer.clear()  # only now have all ranks certainly got all parts
            yield event

    def finish(self) -> Iterator[Event]:
        """Write the timeline of a run that ended before its last traced step."""
        self._agree()
        if self._started and not self._written:
            yield from self._gather()

    def close(self) -> None:
        """Put the original methods back."""
        self._replaced.close()

    def _agree(self) -> None:
        """If a rank was lost meanwhile, others may have missed what this rank has done: then all do it again."""
        flags = self._comm.allgather([self._started, self._written])
        self._started, self._written = (all(column) for column in zip(*flags, strict=True))

    def _timed(self, events: Iterator[Event], state: TrainState) -> Iterator[Event]:
        """Yield ``events``, recording what led to each of them, and what the root did in response."""
        add, names = self._tracer.add, {EpochDone: "end of the epoch", SaveRequested: "compare ranks"}
        while True:
            start, name = now(), "interrupted"
            try:
                event = next(events, None)
                name = f"step {state.progress.steps}" if isinstance(event, StepDone) else names.get(type(event), "loop")
            finally:
                add((name, start, now()))
            if event is None:
                return
            start = now()
            yield event
            if work := self._root().work(event):
                add((work, start, now()))

    def _replace(self, experiment: Experiment, survivor: Survivor) -> None:
        """Replace the methods that the timeline shows by timed ones, and let layers and exchange record their parts."""
        comm, leaves, epoch_end, state = self._comm, experiment.leaves, experiment.epoch_end, experiment.state
        augmentation = leaves.augmentation
        self._replaced.close()
        for name, owner, method in (
            ("load", leaves, "load"),
            ("augment", augmentation.own, "apply"),
            ("augment", augmentation, "noise"),
            ("augment", augmentation, "maps"),
            ("augment", epoch_end.resampler, "warp"),
            ("exchange", comm, "allreduce_leaves"),
            ("update", state, "update"),
            ("evaluate", epoch_end, "evaluate"),
            ("recover", survivor, "recover"),
        ):
            if owner is not None:
                self._set(owner, method, self._tracer.timed(name, getattr(owner, method)))
        self._set(state.net, "run", timed_layers(state.net, self._tracer))
        self._set(comm, "span", self._tracer.span)

    def _set(self, owner: Any, name: str, value: Any) -> None:
        """Set an attribute of an object, frozen or not, until ``close``."""
        if name in vars(owner):
            self._replaced.callback(object.__setattr__, owner, name, vars(owner)[name])
        else:
            self._replaced.callback(object.__delattr__, owner, name)
        object.__setattr__(owner, name, value)

    def _gather(self) -> Iterator[Event]:
        """Let the root write the file."""
        self.close()
        first, comm = self._clock, self._comm
        # another rank may be the root by now: what it is ahead of the first root is added
        last = read_clocks(comm, comm.broadcast(first.ahead))
        text = self._tracer.lines(self._process, self._label, partial(aligned, first=first, last=last)).encode()
        facts = comm.allgather([len(text), max(first.error, last.error), abs(last.ahead - first.ahead)])
        sizes, errors, drifts = zip(*facts, strict=True)
        if any(errors):
            clocks = (
                f"monotonic, aligned to {max(errors) / 1e3:.1f} microseconds at the start and at the end; in between "
            )
            clocks += f"they drifted by up to {max(drifts) / 1e3:.1f} microseconds, which is spread evenly"
        else:
            clocks = "monotonic, one for all ranks"
        notices = self._root().write_timeline(self._parts(text, sizes), {"ranks": len(sizes), "clocks": clocks})
        self._written = True
        yield from notices

    def _parts(self, text: bytes, sizes: Sequence[int]) -> Iterator[memoryview]:
        """Yield the part of each rank in turn, which all receive; ``text`` is this rank's own."""
        own = {self._comm.rank: np.frombuffer(text, np.uint8)}
        for rank, size in enumerate(sizes):
            part = own.get(rank, np.empty(size, np.uint8))
            self._comm.broadcast_array(part, rank)
            yield part.data


def timed_layers(net: Net, tracer: Tracer) -> Callable[[Layer, Direction, np.ndarray], np.ndarray]:
    """Return ``net.run`` with each call recorded as "C1 forward" and the like."""
    run, add = net.run, tracer.add
    directions: tuple[Direction, ...] = ("forward", "backward", "curvature")
    names = {way: {layer.name: f"{layer.name} {way}" for layer in net.layers} for way in directions}

    def call(layer: Layer, direction: Direction, value: np.ndarray) -> np.ndarray:
        start = now()
        try:
            return run(layer, direction, value)
        finally:
            add((names[direction][layer.name], start, now()))

    return call


@dataclass(frozen=True)
class Clock:
    """A reading of this rank's clock, in nanoseconds."""

    root: int  # the root's clock at the same time
    ahead: int  # by how much this rank's is ahead of it
    error: int  # largest error of ``ahead``; 0: both are the same clock


def aligned(times: np.ndarray, first: Clock, last: Clock) -> np.ndarray:
    """Return the nanoseconds from the reading ``first`` to ``times``, readings of this rank's clock, by the root's.

    Clocks drift, and that of a host that was suspended jumps. The difference up to the reading ``last`` is spread
    evenly over the time between: the order is kept, whatever happened.
    """
    start, span = first.root + first.ahead, last.root + last.ahead - first.root - first.ahead
    since = times - start
    slope = (last.root - first.root) / max(span, 1)
    return since if last.ahead == first.ahead else np.floor(since * max(slope, 0.0)).astype(np.int64)


def read_clocks(comm: Communicator, behind: int = 0) -> Clock:
    """Return a reading of this rank's clock; ``behind``: what the first root's clock is behind the present root's.

    Processes under one kernel have one clock. One rank of each other host answers the root ROUNDS times: its clock was
    read between question and answer, so half the shortest time between them bounds the error.
    """
    kernel = machine()
    kernels = comm.allgather(kernel)
    root, ahead, error = comm.broadcast(now()), 0, 0
    for rank in range(1, comm.size):
        if kernels[rank] not in kernels[:rank]:
            offset, half = ask(comm, rank)
            if kernel == kernels[rank]:
                ahead, error = offset, half
    return Clock(root - behind, ahead + behind, error)


def ask(comm: Communicator, rank: int) -> tuple[int, int]:
    """Return by how much the clock of ``rank`` is ahead of the root's, and the largest error, on every rank."""
    question, answer, best = np.zeros(1, np.int64), np.zeros(1, np.int64), (0, 2**62)
    for _ in range(ROUNDS):
        sent = now()
        comm.broadcast_array(question)
        answer[0] = now()
        comm.broadcast_array(answer, rank)
        half = (now() - sent + 1) // 2
        if half < best[1]:
            best = int(answer[0]) - sent - half, half
    offset, half = comm.broadcast(best)
    return offset, half
