"""The state of a run: everything that changes while it trains, and that a checkpoint must hold.

All of it is in two places: the dataclass Progress, which is JSON, and ``TrainState.vectors``. Checkpoints, broadcasts
and going back handle these two as a whole, so a new piece of state is added to one of them and nowhere else.
"""

import hashlib
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from math import log
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
    """Sums over the steps of the epoch so far, from reduced numbers: the same on every rank."""

    loss: float = 0.0
    correct: float = 0.0
    count: float = 0.0

    def add(self, loss: float, correct: float, count: float) -> None:
        """Add one step's sums."""
        self.loss, self.correct, self.count = self.loss + loss, self.correct + correct, self.count + count


@dataclass
class Progress:
    """The state of a run but for its vectors, JSON: ``step`` steps of epoch ``epoch`` are complete."""

    watch: LossWatch
    epoch: int = 0
    step: int = 0
    steps: int = 0  # since the start of the run
    running: Running = field(default_factory=Running)
    history: list[dict[str, Any]] = field(default_factory=list)  # one entry per complete epoch
    best_accuracy: float | None = None  # on the validation set
    best_epoch: int | None = None
    factor: float = 1.0  # of the schedule's learning rate; lowered when the run is healed
    divergences: list[dict[str, Any]] = field(default_factory=list)  # what went wrong so far, and what was done

    @classmethod
    def of(cls, facts: dict[str, Any]) -> "Progress":
        """Return the progress of which ``facts`` is the ``asdict``; raises TypeError, KeyError if it is none."""
        parts = {"watch": LossWatch(**facts["watch"]), "running": Running(**facts.get("running", {}))}
        return cls(**{**facts, **parts})

    def copy(self) -> "Progress":
        """Return a copy that shares nothing with this one."""
        return Progress.of(asdict(self))

    @property
    def order(self) -> tuple[int, int, int]:
        """How new this is within a run: times gone back first, since a run that heals takes steps again."""
        return len(self.divergences), self.steps, self.epoch

    @property
    def place(self) -> str:
        """The position for the user, who counts from 1."""
        return f"epoch {self.epoch + 1}, step {self.step}" if self.step else f"epoch {self.epoch}"

    @property
    def coming(self) -> str:
        """The step that comes next, for the user."""
        return f"epoch {self.epoch + 1}, step {self.step + 1}"


@dataclass(frozen=True)
class Snapshot:
    """A moment of a run: vectors by name as in ``TrainState.vectors``, each (parameters,) float32."""

    progress: Progress
    vectors: dict[str, np.ndarray]

    @classmethod
    def of(cls, state: "TrainState", spare: "Snapshot | None" = None) -> "Snapshot":
        """Copy of ``state`` all that going back brings back, into the memory of ``spare`` if there is one."""
        vectors = state.vectors()
        for name, vector in vectors.items():
            if name != "best/theta":  # is replaced, never changed
                vectors[name] = spare.vectors[name] if spare else np.empty_like(vector)
                vectors[name][:] = vector
        return cls(replace(state.progress, history=[], divergences=[], factor=1.0).copy(), vectors)

    def is_of(self, state: "TrainState") -> bool:
        """Whether ``state`` is still as this was taken of it: at its position a curvature may have been renewed."""
        if (self.progress.epoch, self.progress.step) != (state.progress.epoch, state.progress.step):
            return False
        pairs = ((self.vectors[f"optimizer/{name}"], vector) for name, vector in state.optimizer.state.items())
        return all(np.array_equal(then, now, equal_nan=True) for then, now in pairs)


class TrainState:
    """The network, its optimizer and the progress of a run.

    ``good`` is the moment that the run goes back to if it diverges. Every rank has it in memory and goes back by
    itself: nothing is read or sent, and no failed disk has a say in it.
    """

    def __init__(self, net: Net, optimizer: Optimizer) -> None:
        self.net, self.optimizer = net, optimizer
        self.code: dict[str, str] = {}  # by setting: the SHA-256 of code of the user's own that the run is made of
        self.progress = Progress(LossWatch(log(net.output_shape[0])))
        self.best_theta: np.ndarray | None = None  # (parameters,); replaced, never changed
        self.good = Snapshot.of(self)

    def vectors(self) -> dict[str, np.ndarray]:
        """Return the vectors of the state, (parameters,) each: "theta", "optimizer/<name>", "best/theta" if any."""
        vectors = {"theta": self.net.theta}
        vectors |= {f"optimizer/{name}": vector for name, vector in self.optimizer.state.items()}
        return vectors if self.best_theta is None else vectors | {"best/theta": self.best_theta}

    def moments(self) -> list[Snapshot]:
        """Return the state as it is, not copied, and the good moment if that is another one."""
        now = Snapshot(self.progress, self.vectors())
        return [now] if self.good.is_of(self) else [now, self.good]

    def adopt(self, now: Snapshot, good: Snapshot | None = None) -> None:
        """Become ``now``, which is copied, with ``good`` (default: itself) to go back to."""
        for name, vector in self.vectors().items():
            if name != "best/theta":
                vector[:] = now.vectors[name]
        self.best_theta = now.vectors.get("best/theta")
        self.progress = now.progress.copy()
        self.optimizer.steps = self.progress.steps
        self.good = good or Snapshot.of(self)

    def go_back(self) -> None:
        """Return to the good moment, but remember how often the run diverged: else it might do so for ever."""
        good, now = self.good, self.progress
        history = now.history[: good.progress.epoch]
        progress = replace(good.progress, history=history, factor=now.factor, divergences=now.divergences)
        self.adopt(Snapshot(progress, good.vectors), good)

    def update(self, gradient: np.ndarray, lr: float, loss: float, correct: float, count: float) -> None:
        """Take a step along the mean ``gradient`` (parameters,), which may be overwritten.

        ``loss`` and ``correct`` are sums over the ``count`` images of the batch.
        """
        self.optimizer.step(self.net.theta, gradient, lr)
        self.progress.running.add(loss, correct, count)
        self.progress.watch.add(loss / count, correct / count)
        self.progress.step += 1
        self.progress.steps = self.optimizer.steps

    def end_epoch(self) -> None:
        """Move to the start of the next epoch; it is a moment to go back to, unless something speaks against it."""
        self.progress = replace(self.progress, epoch=self.progress.epoch + 1, step=0, running=Running())
        if self.progress.watch.calm and self.finite:
            self.good = Snapshot.of(self, spare=self.good)

    @property
    def averaged(self) -> np.ndarray:
        """The parameters (parameters,) to evaluate and to keep: their average over the steps, if one is kept."""
        return self.optimizer.state.get("average", self.net.theta)

    @property
    def finite(self) -> bool:
        """Whether no parameter and nothing that the optimizer keeps is NaN or infinite."""
        return all(map(is_finite, (self.net.theta, *self.optimizer.state.values())))

    def theta_sha256(self) -> str:
        """Return the SHA-256 of the parameters, float32 little-endian: equal for equal runs."""
        return sha256(self.net.theta)


def broadcast_state(state: TrainState, comm: Communicator, source: int = 0) -> None:
    """Bring every rank's ``state`` to that of the rank ``source``.

    All or nothing: what arrives is adopted only after the last message, so that a rank lost in the middle leaves every
    other one with a whole state, its old one or the new one.
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
    comm.allgather(None)  # everybody has everything
    state.adopt(*arrived)


def fingerprint(state: TrainState) -> str:
    """Return the SHA-256 of the parameters and the optimizer's vectors."""
    digest = hashlib.sha256()
    for vector in (state.net.theta, *(state.optimizer.state[name] for name in sorted(state.optimizer.state))):
        digest.update(vector.data)
        advance()
    return digest.hexdigest()


@phase("comparing the ranks")
def check_replicas(state: TrainState, comm: Communicator) -> None:
    """Compare all ranks; raises ReplicaError on every rank, naming those that differ from the majority.

    All must hold the same, to the last bit: a flipped bit would spread. One small message, before every checkpoint, so
    that a bad one is never written.
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
        f"after {state.progress.place}, the ranks no longer hold the same parameters: {who}; "
        "nothing was written, go on from the last checkpoint by --resume auto (suspect that host's memory)"
    )
