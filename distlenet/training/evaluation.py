"""Evaluation in fixed chunks, counted from the start of the images and never by rank.

A chunk's logits depend on its width, to the last bit, so the chunks are the same however many ranks
share them; their losses are added in chunk order, in float64, and the confusion counts are integers.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from distlenet.activity import advance
from distlenet.data.augmentation import Resampler
from distlenet.data.digitfile import DigitFile
from distlenet.nn import Net
from distlenet.parallel import Communicator, owned_shards
from distlenet.parallel.agreement import in_agreement
from distlenet.training.events import Score
from distlenet.training.metrics import accuracy
from distlenet.training.stopping import STOPS, Signals, stopped_by

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
    comm.merge(merged)  # each loss comes from one rank, the counts are whole: exact in any order
    votes, merged = dict(zip(STOPS, merged, strict=False)), merged[len(STOPS) :]
    if stop := stopped_by(votes):
        raise stop
    losses, confusion = merged[: part.chunks], merged[part.chunks :].reshape(classes, classes)
    total = 0.0
    for loss in losses.tolist():
        total += loss
    return Result(total / (part.stop - part.start), confusion.astype(np.int64))


def own_chunks(part: Part, comm: Communicator) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield this rank's chunks: number, images (n, rows, columns) uint8, labels (n,)."""
    mine = owned_shards(comm.rank, comm.size, part.chunks)
    for first in range(mine.start, mine.stop, READ):
        last = min(first + READ, mine.stop)
        start, stop = part.start + first * CHUNK, min(part.start + last * CHUNK, part.stop)
        images, labels = part.digits.read(part.split, start, stop, verify=True)
        for chunk in range(first, last):
            here = slice((chunk - first) * CHUNK, (chunk - first + 1) * CHUNK)
            yield chunk, images[here], labels[here].astype(np.intp)
