"""Evaluation in fixed chunks, counted from the start of the images and never by rank.

A chunk's logits depend on its width, to the last bit, so the chunks are the same however many ranks
share them; their losses are added in chunk order, in float64, and the confusion counts are integers.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from distlenet.data.augmentation import Resampler
from distlenet.data.digitfile import DigitFile
from distlenet.nn import Net
from distlenet.parallel import Communicator, owned_shards
from distlenet.parallel.launcher import in_agreement
from distlenet.training.events import Score
from distlenet.training.metrics import accuracy

CHUNK = 250  # images evaluated together
READ = 8  # chunks read from the file together


@dataclass(frozen=True)
class Part:
    """Rows ``start`` to ``stop`` - 1 of ``split`` of a dataset, for example the validation images."""

    digits: DigitFile
    split: str
    start: int
    stop: int
    name: str = ""

    @property
    def chunks(self) -> int:
        """Number of chunks, the last of which may be shorter."""
        return -(-(self.stop - self.start) // CHUNK)


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


def evaluate(
    net: Net,
    part: Part,
    resampler: Resampler,
    comm: Communicator,
    classes: int,
    progress: Callable[[int, int], None] | None = None,
) -> Result:
    """Evaluate ``net`` on ``part``, each rank a run of its chunks; ``progress(done, total)`` counts own chunks.

    Raises DataError, on every rank, when the images that one of them reads do not match their checksums.
    """
    losses = np.zeros(part.chunks)
    confusion = np.zeros((classes, classes))
    mine = owned_shards(comm.rank, comm.size, part.chunks)
    with in_agreement(comm):
        for first in range(mine.start, mine.stop, READ):
            some = range(first, min(first + READ, mine.stop))
            start, stop = part.start + some.start * CHUNK, min(part.start + some.stop * CHUNK, part.stop)
            images, labels = part.digits.read(part.split, start, stop, verify=True)
            for chunk in some:
                here = slice((chunk - some.start) * CHUNK, (chunk - some.start + 1) * CHUNK)
                expected = labels[here].astype(np.intp)
                logits = net.forward(resampler.normalize(images[here]))  # (classes, n)
                losses[chunk] = net.loss.losses(logits, expected).astype(np.float64).sum()
                np.add.at(confusion, (expected, logits.argmax(axis=0)), 1)
                if progress:
                    progress(chunk + 1 - mine.start, len(mine))
    merged = np.concatenate([losses, confusion.ravel()])
    comm.merge(merged)  # each loss comes from one rank, the counts are whole: exact in any order
    losses, confusion = merged[: part.chunks], merged[part.chunks :].reshape(classes, classes)
    total = 0.0
    for loss in losses.tolist():
        total += loss
    return Result(total / (part.stop - part.start), confusion.astype(np.int64))
