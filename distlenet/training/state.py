"""Everything that changes while a run goes on, and that a checkpoint must hold."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import log
from typing import Any

import numpy as np

from distlenet.nn import Net
from distlenet.nn.optimizers import Optimizer
from distlenet.training.divergence import LossWatch
from distlenet.training.events import StepDone
from distlenet.training.snapshot import Snapshot


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
class TrainState:
    """The parameters, the optimizer, and the position: ``step`` steps of epoch ``epoch`` are complete."""

    net: Net
    optimizer: Optimizer
    epoch: int = 0
    step: int = 0
    running: Running = field(default_factory=Running)
    history: list[dict[str, Any]] = field(default_factory=list)  # one entry per complete epoch
    best_accuracy: float | None = None  # on the validation set
    best_epoch: int | None = None
    best_theta: np.ndarray | None = None  # (parameters,)
    latest: StepDone | None = None  # the latest step, if this process has been there; not in checkpoints
    factor: float = 1.0  # of the schedule's learning rate; lowered when the run is healed
    divergences: list[dict[str, Any]] = field(default_factory=list)  # what went wrong so far, and what was done

    def __post_init__(self) -> None:
        self.watch = LossWatch(log(self.net.output_shape[0]))
        self.good = Snapshot.of(self)  # where a run that diverges goes back to

    @property
    def averaged(self) -> np.ndarray:
        """The parameters (parameters,) to evaluate and to keep: their average over the steps, if one is kept."""
        return self.optimizer.state.get("average", self.net.theta)

    @property
    def finite(self) -> bool:
        """Whether no parameter and nothing that the optimizer keeps is NaN or infinite."""
        return all(map(is_finite, (self.net.theta, *self.optimizer.state.values())))

    @property
    def place(self) -> str:
        """Where the state stands, for the user, who counts from 1."""
        return f"epoch {self.epoch + 1}, step {self.step}" if self.step else f"epoch {self.epoch}"

    @contextmanager
    def using(self, theta: np.ndarray) -> Iterator[None]:
        """Let the network compute with the parameters ``theta`` for a while."""
        own = self.net.theta.copy()
        self.net.theta[:] = theta
        try:
            yield
        finally:
            self.net.theta[:] = own

    @property
    def steps(self) -> int:
        """Optimizer steps taken since the start of the run."""
        return self.optimizer.steps

    def theta_sha256(self) -> str:
        """Return the SHA-256 of the parameters, float32 little-endian: equal for equal runs."""
        return theta_sha256(self.net.theta)


def is_finite(vector: np.ndarray) -> bool:
    """Whether no element is NaN or infinite."""
    # the product first: it needs no memory, and is finite unless something in it is not, or is huge
    return bool(np.isfinite(np.dot(vector, vector)) or np.isfinite(vector).all())


def theta_sha256(theta: np.ndarray) -> str:
    """Return the SHA-256 of a flat parameter vector (parameters,) as float32, little-endian."""
    return hashlib.sha256(np.ascontiguousarray(theta, "<f4")).hexdigest()
