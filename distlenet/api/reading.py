"""``distlenet.load`` and ``distlenet.evaluate``: what a trained network answers, and how well."""

import os
from dataclasses import dataclass

import numpy as np

from distlenet.api.caller import as_path, communicator, in_keywords, tell, trust
from distlenet.errors import UsageError, nearest
from distlenet.numerics import one_thread
from distlenet.parallel.agreement import all_or_nothing
from distlenet.reader import Reader, per_class
from distlenet.runs.choice import find_checkpoint
from distlenet.runs.measure import SPLITS, measure


@dataclass(frozen=True)
class Evaluation:
    """How well a checkpoint answers on a split of a dataset."""

    checkpoint: str  # path of the file that was read
    data: str  # path of the dataset file
    split: str
    class_names: tuple[str, ...]
    accuracy: float  # 0 to 1
    loss: float  # mean over the images; of the cross-entropy: nats
    confusion: np.ndarray  # (classes, classes) int64, [true, predicted]

    @property
    def count(self) -> int:
        """Images."""
        return int(self.confusion.sum())

    @property
    def errors(self) -> int:
        """Images that were taken for another class."""
        return int(self.confusion.sum() - np.trace(self.confusion))

    @property
    def per_class(self) -> dict[str, np.ndarray]:
        """ "precision", "recall", "f1" and "support" of each class, each float64 (classes,); 0 where undefined."""
        return per_class(self.confusion)


def load(
    source: str | os.PathLike[str] = "pretrained", *, model: str | None = None, trust_code: bool = False
) -> Reader:
    """Return the trained network of a run or checkpoint, with the normalisation of its pixels; see Reader.predict.

    Arguments:
        source: a run directory (its best checkpoint, else its newest), a checkpoint file, a ``Run``, or "pretrained":
            the network of this package.
        model: FILE.py:FUNCTION, the code of the checkpoint's network if that is your own. Only code that is named here
            is run: a checkpoint may come from anybody.
        trust_code: also run code in the working directory that the checkpoint names.

    Raises CheckpointError: missing, damaged, or of another version. UntrustedCodeError, ConfigError: its code.

    >>> distlenet.load().predict(image).labels
    7
    """
    with in_keywords():
        return Reader(find_checkpoint(as_path(source, "source"), tell, trust({"model": model}, trust_code)))


def evaluate(
    source: str | os.PathLike[str],
    data: str | os.PathLike[str],
    split: str = "test",
    *,
    model: str | None = None,
    trust_code: bool = False,
) -> Evaluation:
    """Measure a run or checkpoint on ``split`` of the dataset file ``data``: "test", "train" or "validation".

    In a process that mpirun started all ranks share the work, and get the same numbers as one process. ``source``,
    ``model`` and ``trust_code`` are those of ``load``.

    Raises CheckpointError, DataError, UntrustedCodeError, ConfigError, UsageError.

    >>> distlenet.evaluate("runs/a", "datasets/mnist.h5").errors
    97
    """
    with in_keywords():
        if split not in SPLITS:
            raise UsageError(f"split is {split!r}{nearest(str(split), SPLITS)}, expected one of {', '.join(SPLITS)}")
        paths, allowed = (as_path(source, "source"), as_path(data, "data")), trust({"model": model}, trust_code)
        with one_thread():
            comm = communicator()
            with all_or_nothing(comm):
                found = measure(*paths, split, comm, allowed)
    for text in found.notes:
        tell(text)
    result = found.result
    return Evaluation(
        found.checkpoint, found.data, split, found.class_names, result.accuracy, result.loss, result.confusion
    )
