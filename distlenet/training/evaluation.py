"""Evaluation by all ranks, in fixed chunks counted from the start of the images, never by rank.

The last bits of a chunk's logits depend on its width, so the chunks are the same for any number of ranks. Their losses
are added in chunk order in float64, and the confusion counts are integers.
"""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

import numpy as np

from distlenet.activity import advance, phase
from distlenet.data.augmentation import Resampler
from distlenet.data.slices import DatasetSlice
from distlenet.nn import Net
from distlenet.nn.schedules import Schedule
from distlenet.parallel import Communicator, owned_shards
from distlenet.parallel.agreement import in_agreement
from distlenet.training.events import EpochDone, Event, Score, StepDone
from distlenet.training.signals import STOPS, Signals, obey
from distlenet.training.state import TrainState


@dataclass(frozen=True)
class Result:
    """The figures of an evaluation, the same on every rank."""

    loss: float  # mean cross-entropy, nats
    confusion: np.ndarray  # (classes, classes) int64, [true, predicted]

    @property
    def accuracy(self) -> float:
        """Share of images whose largest logit belongs to their label, 0 to 1."""
        return accuracy(self.confusion)

    @property
    def score(self) -> Score:
        """Loss, accuracy and count, without the confusion matrix."""
        return Score(self.loss, self.accuracy, int(self.confusion.sum()))


@phase("evaluating")
def evaluate(
    net: Net, part: DatasetSlice, resampler: Resampler, comm: Communicator, signals: Signals | None = None
) -> Result:
    """Evaluate ``net`` on ``part``; each rank computes a contiguous range of its chunks.

    Raises on every rank: Stopped if any rank's ``signals`` ask the run to end, DataError if images do not match their
    checksums.
    """
    classes = net.output_shape[0]
    losses, confusion = np.zeros(part.chunks), np.zeros((classes, classes))
    with in_agreement(comm):
        for chunk, images, labels in part.read(owned_shards(comm.rank, comm.size, part.chunks)):
            logits = net.forward(resampler.normalize(images))  # (classes, n)
            losses[chunk] = net.arithmetic.total(net.loss.losses(logits, labels).astype(np.float64))
            np.add.at(confusion, (labels, logits.argmax(axis=0)), 1)
            advance()
            if signals is not None and signals.stopping:
                break
    votes = signals.stops() if signals is not None else dict.fromkeys(STOPS, 0)
    merged = np.concatenate([[*votes.values()], losses, confusion.ravel()])
    comm.allreduce(merged)  # exact in any order: each loss comes from one rank, and the counts are integers
    obey(dict(zip(STOPS, merged.tolist(), strict=False)))
    losses, confusion = np.split(merged[len(STOPS) :], [part.chunks])
    total = 0.0
    for loss in losses.tolist():  # not sum(), which compensates rounding errors since Python 3.12
        total += loss
    return Result(total / len(part), confusion.reshape(classes, classes).astype(np.int64))


@dataclass
class EpochPace:
    """Training speed of this process in an epoch, possibly resumed in the middle."""

    started: float = field(default_factory=time.perf_counter)
    images: int = 0
    seconds: float = 0.0  # within steps
    exchange: float = 0.0  # part of ``seconds``, spent exchanging gradients

    def add(self, step: StepDone) -> None:
        """Count a step."""
        self.images += step.count
        self.seconds += step.seconds
        self.exchange += step.exchange_seconds


@dataclass(frozen=True)
class EpochEnd:
    """The work after an epoch: evaluate the dataset slices, and keep the parameters if they are the best so far."""

    train: DatasetSlice
    validation: DatasetSlice | None
    test: DatasetSlice | None
    resampler: Resampler
    comm: Communicator
    signals: Signals

    def evaluate(self, net: Net, part: DatasetSlice) -> Result:
        """Evaluate ``net`` on ``part``, with all ranks."""
        return evaluate(net, part, self.resampler, self.comm, self.signals)

    def run(self, state: TrainState, schedule: Schedule, pace: EpochPace) -> Iterator[Event]:
        """Evaluate, remember the best parameters, add to the history; yields EpochDone."""
        start, progress = time.perf_counter(), state.progress
        with state.net.using(state.averaged):
            train = self.evaluate(state.net, self.train)
            validation = self.evaluate(state.net, self.validation) if self.validation else None
            test = self.evaluate(state.net, self.test) if self.test else None
        running = progress.running
        event = EpochDone(
            epoch=progress.epoch,
            step=progress.steps,
            lr=progress.factor * schedule(progress.steps - 1),
            running=Score(running.loss / running.count, running.correct / running.count, int(running.count)),
            train=train.score,
            validation=validation.score if validation else None,
            test=test.score if test else None,
            seconds=start - pace.started,
            evaluation_seconds=time.perf_counter() - start,
            images_per_second=pace.images / (start - pace.started),
            exchange_share=pace.exchange / pace.seconds if pace.seconds else 0.0,
            theta_sha256=state.theta_sha256(),
        )
        progress.history.append(asdict(event))
        if validation and (progress.best_accuracy is None or validation.accuracy >= progress.best_accuracy):
            # the later epoch wins a tie, since its learning rate is lower
            progress.best_accuracy, progress.best_epoch = validation.accuracy, progress.epoch
            state.best_theta = np.copy(state.averaged)
        yield event


def accuracy(confusion: np.ndarray) -> float:
    """Return the share of images on the diagonal of ``confusion``; 0 if there are no images.

    Arguments:
        confusion: int64 (classes, classes), [true, predicted].
    """
    total = confusion.sum()
    return float(np.trace(confusion) / total) if total else 0.0
