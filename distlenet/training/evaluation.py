"""Evaluation in fixed chunks, counted from the start of the images and never by rank.

A chunk's logits depend on its width, to the last bit, so the chunks are the same however many ranks
share them; their losses are added in chunk order, in float64, and the confusion counts are integers.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from distlenet.activity import advance, phase
from distlenet.config import Config
from distlenet.data.augmentation import Resampler
from distlenet.data.file.dataset_file import DigitFile
from distlenet.errors import ConfigError
from distlenet.nn import Net
from distlenet.parallel import Communicator, owned_shards
from distlenet.parallel.agreement import in_agreement
from distlenet.training.events import Score
from distlenet.training.metrics import accuracy
from distlenet.training.signals import STOPS, Signals, stopped_by

CHUNK = 250  # images evaluated together
READ = 8  # chunks read from the file together


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
    net: Net,
    part: DatasetSlice,
    resampler: Resampler,
    comm: Communicator,
    classes: int,
    signals: Signals | None = None,
) -> Result:
    """Evaluate ``net`` on ``part``, each rank a run of its chunks.

    Raises, on every rank: Stopped when ``signals`` say on any rank that the run is to end; DataError when the
    images that one of them reads do not match their checksums.
    """
    losses = np.zeros(part.chunks)
    confusion = np.zeros((classes, classes))
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
    votes, merged = dict(zip(STOPS, merged, strict=False)), merged[len(STOPS) :]
    if stop := stopped_by(votes):
        raise stop
    losses, confusion = merged[: part.chunks], merged[part.chunks :].reshape(classes, classes)
    total = 0.0
    for loss in losses.tolist():
        total += loss
    return Result(total / len(part), confusion.astype(np.int64))


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
