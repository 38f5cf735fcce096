"""The state of a run: everything that changes during training and that a checkpoint must hold.

The state has two parts: the dataclass Progress, which is saved as JSON, and the arrays of ``TrainState.vectors``.
Checkpoints, broadcasts and going back handle each part as a whole. A new piece of state is added to one of the two, and
nowhere else.
"""

import hashlib
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from distlenet.activity import advance, phase
from distlenet.errors import ReplicaError
from distlenet.nn import Net
from distlenet.nn.optimizers import Optimizer
from distlenet.numerics import is_finite, sha256
from distlenet.parallel import Communicator
from distlenet.training.loss_watch import LossWatch


@dataclass
class Running:
    """Sums over the epoch's steps so far. They come from the reduction, so they are the same on every rank."""

    loss: float = 0.0
    correct: float = 0.0
    count: float = 0.0

    def add(self, loss: float, correct: float, count: float) -> None:
        """Add one step's sums."""
        self.loss, self.correct, self.count = self.loss + loss, self.correct + correct, self.count + count


@dataclass
class Progress:
    """The state of a run without its vectors, saved as JSON. ``step`` steps of epoch ``epoch`` are complete."""

    watch: LossWatch
    epoch: int = 0
    step: int = 0
    steps: int = 0  # since the start of the run
    running: Running = field(default_factory=Running)
    history: list[dict[str, Any]] = field(default_factory=list)  # one entry per complete epoch
    best_accuracy: float | None = None  # on the validation set
    best_epoch: int | None = None
    factor: float = 1.0  # multiplies the schedule's learning rate; lowered when the run is healed
    divergences: list[dict[str, Any]] = field(default_factory=list)  # each time the run diverged, and the action taken

    @classmethod
    def of(cls, facts: dict[str, Any]) -> "Progress":
        """Rebuild a progress from its ``asdict``; raises TypeError or KeyError if ``facts`` does not describe one."""
        parts = {"watch": LossWatch(**facts["watch"]), "running": Running(**facts.get("running", {}))}
        return cls(**{**facts, **parts})

    def copy(self) -> "Progress":
        """Return a copy that shares nothing with this one."""
        return Progress.of(asdict(self))

    @property
    def order(self) -> tuple[int, int, int]:
        """Sort key, largest for the newest state. The divergences count first: a run that went back repeats steps."""
        return len(self.divergences), self.steps, self.epoch

    @property
    def position(self) -> str:
        """The position in words for messages; epochs and steps count from 1."""
        return f"epoch {self.epoch + 1}, step {self.step}" if self.step else f"epoch {self.epoch}"

    def upcoming(self, steps_per_epoch: int) -> str:
        """Return the next step for messages, or the evaluation if all steps of the epoch are complete."""
        if self.step < steps_per_epoch:
            return f"epoch {self.epoch + 1}, step {self.step + 1}"
        return f"the evaluation of epoch {self.epoch + 1}"


@dataclass(frozen=True)
class Snapshot:
    """A state that the run had: its progress, and vectors named as in ``TrainState.vectors``, (parameters,) float32."""

    progress: Progress
    vectors: dict[str, np.ndarray]

    @classmethod
    def of(cls, state: "TrainState", spare: "Snapshot | None" = None) -> "Snapshot":
        """Copy the parts of ``state`` that going back restores; reuses the memory of ``spare`` if given."""
        vectors = state.vectors()
        for name, vector in vectors.items():
            if name != "best/theta":  # replaced, never changed in place: no copy needed
                vectors[name] = spare.vectors[name] if spare else np.empty_like(vector)
                vectors[name][:] = vector
        return cls(replace(state.progress, history=[], divergences=[], factor=1.0).copy(), vectors)

    def is_of(self, state: "TrainState") -> bool:
        """Whether ``state`` has not changed since this snapshot was taken of it."""
        if (self.progress.epoch, self.progress.step) != (state.progress.epoch, state.progress.step):
            return False
        # the curvature may be estimated before the next step, without a change of position
        pairs = ((self.vectors[f"optimizer/{name}"], vector) for name, vector in state.optimizer.state.items())
        return all(np.array_equal(then, now, equal_nan=True) for then, now in pairs)


class TrainState:
    """The network, its optimizer and the progress of a run.

    ``good`` is the snapshot that the run goes back to if it diverges. Every rank keeps its own in memory, so going back
    needs no message and no disk.
    """

    def __init__(self, net: Net, optimizer: Optimizer) -> None:
        self.net, self.optimizer = net, optimizer
        self.code: dict[str, str] = {}  # by setting: the SHA-256 of user-defined code that the run uses
        self.progress = Progress(LossWatch(float(net.arithmetic.logarithm(net.output_shape[0]))))
        self.best_theta: np.ndarray | None = None  # (parameters,); replaced, never changed in place
        self.good = Snapshot.of(self)

    def vectors(self) -> dict[str, np.ndarray]:
        """Return the vectors of the state, (parameters,) each: "theta", "optimizer/<name>", "best/theta" if any."""
        vectors = {"theta": self.net.theta}
        vectors |= {f"optimizer/{name}": vector for name, vector in self.optimizer.state.items()}
        return vectors if self.best_theta is None else vectors | {"best/theta": self.best_theta}

    def moments(self) -> list[Snapshot]:
        """Return the current state as a snapshot (not copied), and the good one if it differs."""
        now = Snapshot(self.progress, self.vectors())
        return [now] if self.good.is_of(self) else [now, self.good]

    def adopt(self, now: Snapshot, good: Snapshot | None = None) -> None:
        """Take over a copy of ``now``; ``good`` (default: the same state) becomes the snapshot to go back to."""
        for name, vector in self.vectors().items():
            if name != "best/theta":
                vector[:] = now.vectors[name]
        self.best_theta = now.vectors.get("best/theta")
        self.progress = now.progress.copy()
        self.optimizer.steps = self.progress.steps
        self.good = good or Snapshot.of(self)

    def go_back(self) -> None:
        """Return to the good snapshot, but keep count of the divergences: otherwise a run could go back forever."""
        good, now = self.good, self.progress
        history = now.history[: good.progress.epoch]
        progress = replace(good.progress, history=history, factor=now.factor, divergences=now.divergences)
        self.adopt(Snapshot(progress, good.vectors), good)

    def update(self, gradient: np.ndarray, lr: float, loss: float, correct: float, count: float) -> None:
        """Take one optimizer step with the mean ``gradient`` (parameters,), which may be overwritten.

        ``loss`` and ``correct`` are sums over the ``count`` images of the batch.
        """
        self.optimizer.step(self.net.theta, gradient, lr)
        self.progress.running.add(loss, correct, count)
        self.progress.watch.add(loss / count, correct / count)
        self.progress.step += 1
        self.progress.steps = self.optimizer.steps

    def end_epoch(self) -> None:
        """Move to the start of the next epoch; take the good snapshot there if the loss is calm and all is finite."""
        self.progress = replace(self.progress, epoch=self.progress.epoch + 1, step=0, running=Running())
        if self.progress.watch.calm and self.finite:
            self.good = Snapshot.of(self, spare=self.good)

    @property
    def averaged(self) -> np.ndarray:
        """The parameters (parameters,) to evaluate and keep: the average over the steps if the optimizer keeps one."""
        return self.optimizer.state.get("average", self.net.theta)

    @property
    def finite(self) -> bool:
        """Whether all parameters and all optimizer vectors are finite."""
        return all(map(is_finite, (self.net.theta, *self.optimizer.state.values())))

    def theta_sha256(self) -> str:
        """Return the SHA-256 of the parameters (float32, little-endian); equal runs have equal hashes."""
        return sha256(self.net.theta)


def broadcast_state(state: TrainState, comm: Communicator, source: int = 0) -> None:
    """Copy the state of the rank ``source`` to every rank.

    All or nothing: ranks take over the new state only after the last message. If a rank is lost before that, every
    other rank still has a complete state, the old one or the new one.
    """
    own = state.moments()
    heads = comm.broadcast([[asdict(moment.progress), list(moment.vectors)] for moment in own], source)
    arrived = []
    for place, (facts, names) in enumerate(heads):
        mine = own[place].vectors if place < len(own) else {}
        vectors = {name: mine.get(name, state.net.theta).copy() for name in names}
        for name in names:
            comm.broadcast_array(vectors[name], source)
        arrived.append(Snapshot(Progress.of(facts), vectors))
    comm.allgather(None)  # now every rank has received everything
    state.adopt(*arrived)


def fingerprint(state: TrainState) -> str:
    """Return the SHA-256 of all vectors of the state, including its best parameters, and of the good snapshot."""
    digest = hashlib.sha256()
    for vectors in (state.vectors(), state.good.vectors):
        for name in sorted(vectors):
            digest.update(name.encode())
            digest.update(vectors[name].data)
            advance()
    return digest.hexdigest()


@phase("comparing the ranks")
def check_replicas(state: TrainState, comm: Communicator) -> None:
    """Compare the states of all ranks; raises ReplicaError on every rank, naming those that differ from the majority.

    All ranks must hold the same bits, because a single flipped bit would spread. This takes one small message before
    every checkpoint, so a bad checkpoint is never written.
    """
    prints = comm.allgather(fingerprint(state))
    usual, count = Counter(prints).most_common(1)[0]
    if count == comm.size:
        return
    if count > comm.size / 2:
        strays = [str(rank) for rank, found in enumerate(prints) if found != usual]
        who = f"rank{'s' if len(strays) > 1 else ''} {', '.join(strays)} of {comm.size} differ from the others"
    else:
        who = "no majority agrees: " + ", ".join(f"rank {rank}: {found[:8]}" for rank, found in enumerate(prints))
    raise ReplicaError(
        f"after {state.progress.position}, the ranks no longer hold the same state: {who}; "
        "nothing was written, resume from the last checkpoint with --resume auto (suspect faulty memory in that host)"
    )
