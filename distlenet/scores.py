"""Pictures whose labels are known: the file of labels, and how well a network read them."""

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
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
class Rows:
    """How well whole pictures of several digits were read."""

    count: int  # pictures
    right: int  # pictures whose digits are all right
    digits: int  # in all labels
    edits: int  # digits to replace, insert and delete until all pictures are right (Levenshtein 1966)

    @property
    def digit_accuracy(self) -> float:
        """1 less the edits for each digit; below 0 if far too many digits were read."""
        return 1 - self.edits / self.digits


@dataclass(frozen=True)
class Scores:
    """How well digits were read: one entry for each picture, or with ``rows`` for each digit of their labels."""

    class_names: tuple[str, ...]
    true: np.ndarray  # (n,) positions of the classes
    predicted: np.ndarray  # (n,); -1: no answer
    confidence: np.ndarray  # (n,) float64, the probability of the answer, 0 to 1
    rows: Rows | None = None

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


Answer = tuple[int, float]  # position of the class, -1 if the network is not sure; probability


def score_pictures(
    class_names: tuple[str, ...], true: Sequence[Sequence[int]], found: Sequence[Sequence[Answer]], many: bool = False
) -> Scores:
    """Return how well pictures were read: for each the positions of its ``true`` classes, and the answers ``found``.

    With ``many``, the digits found are matched to the true ones so that the fewest edits remain; ``rows`` counts these.
    """
    entries: list[tuple[int, int, float]] = []  # true, predicted, confidence
    edits = right = 0
    for labels, answers in zip(true, found, strict=True):
        pairs = align(labels, [place for place, _ in answers])
        entries += [(labels[i], *((-1, 0.0) if j is None else answers[j])) for i, j in pairs if i is not None]
        wrong = sum(i is None or j is None or labels[i] != answers[j][0] for i, j in pairs)
        edits, right = edits + wrong, right + (wrong == 0)
    expected, predicted, confidence = (np.array(column) for column in zip(*entries, strict=True))
    rows = Rows(len(true), right, len(entries), edits) if many else None
    return Scores(class_names, expected, predicted, confidence, rows)


def align(true: Sequence[int], found: Sequence[int]) -> list[tuple[int | None, int | None]]:
    """Return the pairs of positions that match ``true`` and ``found`` with the fewest edits; None: nothing there."""
    least = [[i + j for j in range(len(found) + 1)] for i in range(len(true) + 1)]  # edits of the first i and j
    for i, j in product(range(1, len(true) + 1), range(1, len(found) + 1)):
        both = least[i - 1][j - 1] + (true[i - 1] != found[j - 1])
        least[i][j] = min(both, least[i - 1][j] + 1, least[i][j - 1] + 1)
    pairs: list[tuple[int | None, int | None]] = []
    i, j = len(true), len(found)
    while i or j:
        if i and j and least[i][j] == least[i - 1][j - 1] + (true[i - 1] != found[j - 1]):
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif i and least[i][j] == least[i - 1][j] + 1:
            i -= 1
            pairs.append((i, None))
        else:
            j -= 1
            pairs.append((None, j))
    return pairs[::-1]


def read_labels(path: Path, files: Sequence[str], class_names: Sequence[str], many: bool = False) -> list[list[int]]:
    """Return the positions of the classes of each of ``files``, from lines of file and label in the CSV file ``path``.

    A label is one class; with ``many``, classes in reading order, as in 2718 or, for longer names, in "cat dog". A file
    is named as on the command line, or without its directories. A first line ``file,label`` is skipped. Raises
    DataError: a line or class that is not understood, a file without a label, or a name with two labels.
    """
    places = {name: place for place, name in enumerate(class_names)}
    labels: dict[str, list[int]] = {}
    try:
        for number, row in enumerate(csv.reader(read_text(path, MOST_BYTES).splitlines(), strict=True), 1):
            words = [word.strip() for word in row]
            if not any(words) or (number == 1 and words == ["file", "label"]):
                continue
            where = f"line {number} of {path}"
            names = [words[-1]] if words[-1] in places or not many else words[-1].split()
            names = [part for name in names for part in ([name] if name in places or not many else name)]
            if len(words) != 2 or not names or not {*names} <= {*places}:
                raise DataError(
                    f"{where} is {','.join(words)!r}, expected FILE,LABEL with {'some' if many else 'one'} of "
                    f"{shown(class_names)}{'' if many else ' (several digits in a picture need --many)'}"
                )
            label = [places[name] for name in names]
            if labels.setdefault(words[0], label) != label:
                raise DataError(f"{where} gives {words[0]} another label than a line before")
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"cannot read the labels {path}: {reason(error)}") from error
    return [label_of(file, labels, path) for file in files]


def label_of(file: str, labels: Mapping[str, list[int]], path: Path) -> list[int]:
    """Return the label of ``file``; raises DataError if ``labels``, those of ``path``, lack it."""
    for name in (file, os.path.normpath(file), os.path.basename(file)):
        if name in labels:
            return labels[name]
    raise DataError(f"{path} has no label for {file}: add a line with {os.path.basename(file)},LABEL")


def shown(class_names: Sequence[str]) -> str:
    """Return the names for a sentence, the first twelve if there are more."""
    return ", ".join(class_names[:12]) + (" ..." if len(class_names) > 12 else "")
