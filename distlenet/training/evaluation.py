"""Evaluation, by all ranks: in fixed chunks, counted from the start of the images and never by rank.

A chunk's logits depend on its width, to the last bit, so the chunks are the same however many ranks
share them; their losses are added in chunk order, in float64, and the confusion counts are integers.
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
    """What an evaluation found; the same on every rank."""

    loss: float  # mean cross-entropy, nats
    confusion: np.ndarray  # (classes, classes) int64, [true, predicted]

    @property
    def accuracy(self) -> float:
        """Share of images whose largest logit is their label's, 0 to 1."""
        return accuracy(self.confusion)

    @property
    def score(self) -> Score:
        """Loss, accuracy and count alone."""
        return Score(self.loss, self.accuracy, int(self.confusion.sum()))


@phase("evaluating")
def evaluate(
    net: Net, part: DatasetSlice, resampler: Resampler, comm: Communicator, signals: Signals | None = None
) -> Result:
    """Evaluate ``net`` on ``part``, each rank a run of its chunks.

    Raises, on every rank: Stopped when ``signals`` say on any rank that the run is to end; DataError when the
    images that one of them reads do not match their checksums.
    """
    classes = net.output_shape[0]
    losses, confusion = np.zeros(part.chunks), np.zeros((classes, classes))
    with in_agreement(comm):
        for chunk, images, labels in part.read(owned_shards(comm.rank, comm.size, part.chunks)):
            logits = net.forward(resampler.normalize(images))  # (classes, n)
            losses[chunk] = net.loss.losses(logits, labels).astype(np.float64).sum()
            np.add.at(confusion, (labels, logits.argmax(axis=0)), 1)
            advance()
            if signals is not None and signals.stopping:
                break
    votes = signals.stops() if signals is not None else dict.fromkeys(STOPS, 0)
    merged = np.concatenate([[*votes.values()], losses, confusion.ravel()])
    comm.allreduce(merged)  # each loss comes from one rank, the counts are whole: exact in any order
    obey(dict(zip(STOPS, merged.tolist(), strict=False)))
    losses, confusion = np.split(merged[len(STOPS) :], [part.chunks])
    total = 0.0
    for loss in losses.tolist():  # in this order; sum() would do it otherwise from Python 3.12 on
        total += loss
    return Result(total / len(part), confusion.reshape(classes, classes).astype(np.int64))


@dataclass
class EpochPace:
    """How fast this process trains in an epoch, which it may have resumed in the middle."""

    started: float = field(default_factory=time.perf_counter)
    images: int = 0
    seconds: float = 0.0  # within steps
    exchange: float = 0.0  # of these, between ranks

    def add(self, step: StepDone) -> None:
        """Count a step."""
        self.images += step.count
        self.seconds += step.seconds
        self.exchange += step.exchange_seconds


@dataclass(frozen=True)
class EpochEnd:
    """What happens after an epoch: evaluation of the slices that are watched, and the choice of the best parameters."""

    train: DatasetSlice
    validation: DatasetSlice | None
    test: DatasetSlice | None
    resampler: Resampler
    comm: Communicator
    signals: Signals

    def evaluate(self, net: Net, part: DatasetSlice) -> Result:
        """Evaluate the network on ``part``, by all ranks."""
        return evaluate(net, part, self.resampler, self.comm, self.signals)

    def run(self, state: TrainState, schedule: Schedule, pace: EpochPace) -> Iterator[Event]:
        """Evaluate, keep the best parameters in mind, add to the history; yields EpochDone."""
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
        )
        progress.history.append(asdict(event))
        if validation and (progress.best_accuracy is None or validation.accuracy >= progress.best_accuracy):
            # among equals the later: the learning rate has fallen further
            progress.best_accuracy, progress.best_epoch = validation.accuracy, progress.epoch
            state.best_theta = np.copy(state.averaged)
        yield event


def accuracy(confusion: np.ndarray) -> float:
    """Return the share of images on the diagonal of ``confusion``, 0 without images.

    Arguments:
        confusion: int64 (classes, classes), [true, predicted].
    """
    total = confusion.sum()
    return float(np.trace(confusion) / total) if total else 0.0
