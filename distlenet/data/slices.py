"""A dataset as a run uses it: training images, validation images for choices, test images for the end."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from distlenet.config import Config
from distlenet.data.file.dataset_file import DigitFile
from distlenet.data.file.header import LARGEST_SIDE
from distlenet.errors import ConfigError

CHUNK = 40  # images evaluated together: enough to be fast, and few enough for the cache
READ = 50  # chunks read from the file together


@dataclass(frozen=True)
class DatasetFacts:
    """The facts about its training data that a network needs."""

    name: str
    fingerprint: str
    image_shape: tuple[int, int]
    class_names: tuple[str, ...]
    mean: float  # for normalising pixels of 0 to 1: of the training pixels, or prescribed by the model
    std: float

    @classmethod
    def of(cls, facts: dict[str, Any]) -> "DatasetFacts":
        """Return the facts given as JSON; raises TypeError, KeyError or ValueError if they are not plausible."""
        shape, names = tuple(facts["image_shape"]), tuple(facts["class_names"])
        found = cls(**{**facts, "image_shape": shape, "class_names": names})
        sound = (
            len(shape) == 2
            and all(type(side) is int and 1 <= side <= LARGEST_SIDE for side in shape)
            and 2 <= len(names) <= 256
            and all(type(name) is str for name in (*names, found.name, found.fingerprint))
            and 0 <= found.mean <= 1
            and 0 < found.std <= 1
        )
        if not sound:
            raise ValueError("the facts about its dataset are not plausible")
        return found


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
        """Number of chunks; the last may be shorter."""
        return -(-len(self) // CHUNK)

    def read(self, chunks: range) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yield for each of ``chunks`` its number, images (n, rows, columns) uint8, labels (n,). Raises DataError."""
        for first in range(chunks.start, chunks.stop, READ):
            last = min(first + READ, chunks.stop)
            start, stop = self.start + first * CHUNK, min(self.start + last * CHUNK, self.stop)
            images, labels = self.digits.read(self.split, start, stop, verify=True)
            for chunk in range(first, last):
                here = slice((chunk - first) * CHUNK, (chunk - first + 1) * CHUNK)
                yield chunk, images[here], labels[here].astype(np.intp)


@dataclass(frozen=True)
class Slices:
    """A dataset as a run uses it."""

    train: DatasetSlice
    sample: DatasetSlice  # a sample of the training images, evaluated after each epoch
    validation: DatasetSlice | None  # all choices are based on it
    test: DatasetSlice  # read once, at the end

    @classmethod
    def of(cls, digits: DigitFile, config: Config) -> "Slices":
        """Divide the dataset as ``config`` says; raises ConfigError if too few training images remain."""
        total = digits.length("train")
        held = total // 12 if config.validation < 0 else config.validation
        rest = total - held
        if rest < config.shards:
            raise ConfigError(
                f"{held} of {total} training images are held back for validation, which leaves {rest} for "
                f"{config.shards} shards, expected at least one each; lower --validation or --shards"
            )
        sample = rest if config.train_sample < 0 else max(1, min(config.train_sample, rest))
        return cls(
            DatasetSlice(digits, "train", 0, rest),
            DatasetSlice(digits, "train", 0, sample),
            DatasetSlice(digits, "train", rest, total) if held else None,
            DatasetSlice(digits, "test", 0, digits.length("test")),
        )
