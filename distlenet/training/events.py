"""The events of the training loop.

The loop in ``training/loop.py`` is a generator of these events. Only the root rank has listeners (display, journal,
checkpoint keeper); the other ranks drop the events.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from distlenet.errors import DistlenetError
from distlenet.nn.inspection import LayerStatistics


@dataclass(frozen=True)
class Score:
    """Accuracy and mean loss over ``count`` images."""

    loss: float
    accuracy: float  # 0 to 1
    count: int


@dataclass(frozen=True)
class RunStarted:
    """The run is about to take its first step, or to resume after ``step``."""

    title: str  # one line: model, recipe, dataset
    facts: dict[str, str]  # for the header: ranks, shards, batch, hosts, BLAS, ...
    epochs: int
    steps_per_epoch: int
    epoch: int  # epochs already complete, 0 for a new run
    step: int  # steps already complete within the epoch
    best_accuracy: float | None = None  # on the validation set, over the complete epochs
    best_epoch: int | None = None  # 0-based


@dataclass(frozen=True)
class StepDone:
    """All ranks have taken one optimizer step."""

    epoch: int  # 0-based
    step: int  # 0-based within the epoch
    lr: float
    loss: float  # mean over the global batch
    accuracy: float  # over the global batch, 0 to 1
    count: int  # images in the global batch
    seconds: float  # wall time of the step on this rank
    exchange_seconds: float  # part of ``seconds``, spent exchanging gradients between ranks, waiting included
    load_seconds: float = 0.0  # part of ``seconds``, spent loading and augmenting this rank's leaves
    compute_seconds: float = 0.0  # part of ``seconds``, spent in the network, forward and backward


@dataclass(frozen=True)
class EpochDone:
    """One epoch is complete and evaluated."""

    epoch: int  # 0-based
    step: int  # optimizer steps taken since the start of the run
    lr: float  # of the epoch's last step
    running: Score  # over the epoch's (augmented) batches, while the weights were changing
    train: Score  # training images without augmentation, after the epoch
    validation: Score | None  # None without a validation set
    test: Score | None  # only with --test-curve
    seconds: float  # training time of the epoch, evaluation excluded
    evaluation_seconds: float
    images_per_second: float
    exchange_share: float  # share of the epoch's step time spent exchanging gradients, 0 to 1
    theta_sha256: str = ""  # of the parameters after the epoch's last step


@dataclass(frozen=True)
class SaveRequested:
    """The state should be saved now, between two steps."""

    reason: str  # "epoch", "requested", "healed", "the ranks changed", "stopped by SIGINT", an error's sentence


@dataclass(frozen=True)
class CheckpointSaved:
    """A checkpoint file was written."""

    path: Path
    reason: str  # "last", "best", "every 5 epochs", ...


@dataclass(frozen=True)
class Diverged:
    """The run stopped learning, unlearned, or met a NaN. It has already gone back, or is about to end."""

    number: int  # 1 for the first time
    record: dict[str, Any]  # for the summary: kind, position, action
    what: str  # one sentence
    report: dict[str, Any]  # figures of the last steps and of the network, for the post-mortem
    back_to: tuple[int, int] | None  # (steps, epochs) where the run continues; None if it ends


@dataclass(frozen=True)
class Notice:
    """Something the user should read once: a fallback, a damaged file, a full disk."""

    text: str
    level: str = "info"  # "info" or "warning"


@dataclass(frozen=True)
class LayersWatched:
    """With --debug, every layer is watched from now on; ``statistics`` returns the figures of the last calls."""

    statistics: Callable[[], list[LayerStatistics]]


@dataclass(frozen=True)
class RunFinished:
    """The run is over; ``summary`` is the content of summary.json (status, test_accuracy, seconds, ...)."""

    summary: dict[str, Any] = field(default_factory=dict)
    code: int = 0  # the exit code
    failure: DistlenetError | None = None  # why it ended early, the same on every rank
    history: list[dict[str, Any]] = field(default_factory=list)  # EpochDone's fields, of all epochs of the run


Event = (
    RunStarted | StepDone | EpochDone | SaveRequested | CheckpointSaved
    | Diverged | Notice | LayersWatched | RunFinished
)  # fmt: skip


def warner(announce: Callable[[Event], None]) -> Callable[[str], None]:
    """Return a function that announces a sentence as a warning."""
    return lambda text: announce(Notice(text, "warning"))


class Listener(Protocol):
    """Work that only the root does in response to events: displaying, logging, saving."""

    def on(self, event: Event) -> None:
        """Handle ``event``. Must not block for long, because all ranks wait for the root."""
        ...
