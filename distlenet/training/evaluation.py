"""Evaluation, by all ranks: in fixed chunks, counted from the start of the images and never by rank.

A chunk's logits depend on its width, to the last bit, so the chunks are the same however many ranks
share them; their losses are added in chunk order, in float64, and the confusion counts are integers.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from distlenet.activity import advance, phase
from distlenet.config import Config
from distlenet.data.augmentation import Resampler
from distlenet.data.file.dataset_file import DigitFile
from distlenet.errors import ConfigError
from distlenet.nn import Net
from distlenet.nn.schedules import Schedule
from distlenet.parallel import Communicator, owned_shards
from distlenet.parallel.agreement import in_agreement
from distlenet.training.events import EpochDone, Event, Score, StepDone
from distlenet.training.signals import STOPS, Signals, obey
from distlenet.training.state import TrainState

CHUNK = 250  # images evaluated together
READ = 8  # chunks read from the file together
CONFUSIONS = 15  # most frequent ones, listed


@dataclass(frozen=True)
class DatasetSlice:
    """Rows ``start`` to ``stop`` - 1 of ``split`` of a dataset, for example the validation images."""

    digits: DigitFile
    split: str
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def chunks(self) -> int:
        """Number of chunks, the last of which may be shorter."""
        return -(-len(self) // CHUNK)


@dataclass(frozen=True)
class Slices:
    """A dataset as a run uses it."""

    train: DatasetSlice
    sample: DatasetSlice  # of the training images, evaluated after each epoch
    validation: DatasetSlice | None  # choices are made on it
    test: DatasetSlice  # read once, at the end

    @classmethod
    def of(cls, digits: DigitFile, config: Config) -> "Slices":
        """Cut the dataset as ``config`` says; raises ConfigError if too few images are left to train on."""
        total = digits.length("train")
        held = total // 12 if config.validation < 0 else config.validation
        rest = total - held
        if rest < config.shards:
            raise ConfigError(
                f"{held} of {total} training images are held back for validation: {rest} are left for {config.shards} "
                "shards, expected at least one each; lower --validation or --shards"
            )
        sample = rest if config.train_sample < 0 else max(1, min(config.train_sample, rest))
        return cls(
            DatasetSlice(digits, "train", 0, rest),
            DatasetSlice(digits, "train", 0, sample),
            DatasetSlice(digits, "train", rest, total) if held else None,
            DatasetSlice(digits, "test", 0, digits.length("test")),
        )


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
        for chunk, images, labels in own_chunks(part, comm):
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


def own_chunks(part: DatasetSlice, comm: Communicator) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield this rank's chunks: number, images (n, rows, columns) uint8, labels (n,)."""
    mine = owned_shards(comm.rank, comm.size, part.chunks)
    for first in range(mine.start, mine.stop, READ):
        last = min(first + READ, mine.stop)
        start, stop = part.start + first * CHUNK, min(part.start + last * CHUNK, part.stop)
        images, labels = part.digits.read(part.split, start, stop, verify=True)
        for chunk in range(first, last):
            here = slice((chunk - first) * CHUNK, (chunk - first + 1) * CHUNK)
            yield chunk, images[here], labels[here].astype(np.intp)


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


def per_class(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """Return "precision", "recall", "f1" and "support", each float64 (classes,); 0 where undefined.

    Arguments:
        confusion: int64 (classes, classes), [true, predicted].
    """
    right = np.diagonal(confusion).astype(np.float64)
    support = confusion.sum(axis=1).astype(np.float64)
    predicted = confusion.sum(axis=0).astype(np.float64)
    return {
        "precision": _ratio(right, predicted),
        "recall": _ratio(right, support),
        "f1": _ratio(2 * right, support + predicted),
        "support": support,
    }


def confusions(confusion: np.ndarray, names: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return the most frequent of ``confusion``, int64 (classes, classes), as rows: true, predicted, images."""
    wrong = confusion - np.diag(np.diagonal(confusion))
    order = np.argsort(-wrong, axis=None, kind="stable")[:CONFUSIONS]
    pairs = np.stack(np.unravel_index(order, wrong.shape), axis=1).tolist()
    return [(names[true], names[found], f"{wrong[true, found]:,}") for true, found in pairs if wrong[true, found]]


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
