"""A dataset as a run uses it: training images, validation images for choices, test images for the end."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from distlenet.arithmetic import choose
from distlenet.config import Config
from distlenet.data.corruptions import corrupt
from distlenet.data.file.dataset_file import DigitFile
from distlenet.data.file.header import LARGEST_SIDE
from distlenet.errors import ConfigError

CHUNK = 40  # images evaluated together: enough to be fast, and few enough for the cache
READ = 2000  # images read from the file together


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
    chunk: int = CHUNK  # images evaluated together
    corruption: str = ""  # of the images as they are read: a name in CORRUPTIONS, or none

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def chunks(self) -> int:
        """Number of chunks; the last may be shorter."""
        return -(-len(self) // self.chunk)

    def read(self, chunks: range) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yield for each of ``chunks`` its number, images (n, rows, columns) uint8, labels (n,). Raises DataError."""
        size, together = self.chunk, max(1, READ // self.chunk)
        for first in range(chunks.start, chunks.stop, together):
            last = min(first + together, chunks.stop)
            start, stop = self.start + first * size, min(self.start + last * size, self.stop)
            images, labels = self.digits.read(self.split, start, stop, verify=True)
            images = corrupt(self.corruption, images, start) if self.corruption else images
            for chunk in range(first, last):
                here = slice((chunk - first) * size, (chunk - first + 1) * size)
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
        chunk = chunk_of(config)
        return cls(
            DatasetSlice(digits, "train", 0, rest, chunk),
            DatasetSlice(digits, "train", 0, sample, chunk),
            DatasetSlice(digits, "train", rest, total, chunk) if held else None,
            whole_test(digits, config),
        )


def whole_test(digits: DigitFile, config: Config) -> DatasetSlice:
    """Return the test images of ``digits``."""
    return DatasetSlice(digits, "test", 0, digits.length("test"), chunk_of(config))


def chunk_of(config: Config) -> int:
    """Return the number of images that are evaluated together: see Portable.chunk."""
    return choose(config.numerics).chunk or CHUNK
