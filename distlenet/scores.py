"""Pictures whose labels are known: the file of labels, and how well a network read them."""

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distlenet.bounded import MIB, read_text
from distlenet.errors import DataError
from distlenet.streams import reason

BINS = 10  # of equal width, of the confidence
SURE = 0.9  # a wrong answer with a higher probability counts as confidently wrong
MOST_BYTES = 64 * MIB  # of a file of labels


@dataclass(frozen=True)
class Bin:
    """The answers whose confidence is within a tenth; NaN where there are none."""

    count: int
    confidence: float  # mean, 0 to 1
    accuracy: float  # 0 to 1


@dataclass(frozen=True)
class Scores:
    """How well pictures were read: one entry for each picture, in order."""

    class_names: tuple[str, ...]
    true: np.ndarray  # (n,) positions of the classes
    predicted: np.ndarray  # (n,); -1: no answer
    confidence: np.ndarray  # (n,) float64, the probability of the answer, 0 to 1

    @property
    def answered(self) -> np.ndarray:
        """Which pictures got an answer, (n,) bool."""
        return self.predicted >= 0

    @property
    def right(self) -> np.ndarray:
        """Which pictures got the right answer, (n,) bool."""
        return self.predicted == self.true

    @property
    def confidently_wrong(self) -> int:
        """The number of wrong answers above 90 %."""
        return int((self.answered & ~self.right & (self.confidence > SURE)).sum())

    @property
    def confusion(self) -> np.ndarray:
        """The answers, int64 (classes, classes), [true, predicted]; pictures without an answer are left out."""
        counts = np.zeros((len(self.class_names),) * 2, np.int64)
        np.add.at(counts, (self.true[self.answered], self.predicted[self.answered]), 1)
        return counts

    @property
    def bins(self) -> list[Bin]:
        """The answers by confidence, the lowest tenth first: a reliability diagram (DeGroot and Fienberg 1983)."""
        confidence, right = self.confidence[self.answered], self.right[self.answered]
        places, found = np.minimum((confidence * BINS).astype(int), BINS - 1), []
        for here in (places == place for place in range(BINS)):
            means = (confidence[here].mean(), right[here].mean()) if here.any() else (np.nan, np.nan)
            found.append(Bin(int(here.sum()), *map(float, means)))
        return found

    @property
    def calibration_error(self) -> float:
        """The mean difference between confidence and accuracy of the bins, by count (Naeini et al. 2015); 0 is best."""
        gaps = [part.count * abs(part.confidence - part.accuracy) for part in self.bins if part.count]
        return sum(gaps) / max(1, int(self.answered.sum()))


def read_labels(path: Path, files: Sequence[str], class_names: Sequence[str]) -> list[int]:
    """Return the position of the class of each of ``files``, from the CSV file ``path``: a file and a class per line.

    A file is named as on the command line, or without its directories. A first line ``file,label`` is skipped. Raises
    DataError: a line or class that is not understood, a file without a label, or a name with two labels.
    """
    places = {name: place for place, name in enumerate(class_names)}
    labels: dict[str, int] = {}
    try:
        for number, row in enumerate(csv.reader(read_text(path, MOST_BYTES).splitlines(), strict=True), 1):
            words = [word.strip() for word in row]
            if not any(words) or (number == 1 and words == ["file", "label"]):
                continue
            where = f"line {number} of {path}"
            if len(words) != 2 or words[1] not in places:
                raise DataError(f"{where} is {','.join(words)!r}, expected FILE,LABEL with one of {shown(class_names)}")
            if labels.setdefault(words[0], places[words[1]]) != places[words[1]]:
                raise DataError(f"{where} gives {words[0]} another label than a line before")
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"cannot read the labels {path}: {reason(error)}") from error
    return [label_of(file, labels, path) for file in files]


def label_of(file: str, labels: Mapping[str, int], path: Path) -> int:
    """Return the label of ``file``; raises DataError if ``labels``, those of ``path``, lack it."""
    for name in (file, os.path.normpath(file), os.path.basename(file)):
        if name in labels:
            return labels[name]
    raise DataError(f"{path} has no label for {file}: add a line with {os.path.basename(file)},LABEL")


def shown(class_names: Sequence[str]) -> str:
    """Return the names for a sentence, the first twelve if there are more."""
    return ", ".join(class_names[:12]) + (" ..." if len(class_names) > 12 else "")
