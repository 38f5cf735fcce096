"""Small datasets of one noisy picture per class: quick to write, and learnable."""

import random
from dataclasses import dataclass
from pathlib import Path

import drawn
import numpy as np

SIDES = (12, 12, 13, 16, 28, 28)


@dataclass(frozen=True)
class Small:
    """The properties of a dataset."""

    side: int
    classes: int
    train: int  # images
    test: int
    seed: int

    @classmethod
    def draw(cls, chance: random.Random, side: int | None = None, classes: int | None = None) -> "Small":
        """Return one of the search's datasets, with ``side`` and ``classes`` if given."""
        return cls(
            side=side or chance.choice(SIDES),
            classes=classes or chance.choice((2, 3, 10, 10, 26, 62)),
            train=chance.choice((97, 300, 300, 700, 1000, 2001)),
            test=chance.choice((1, 40, 250, 251, 600)),
            seed=chance.randrange(4),
        )

    def write(self, folder: Path) -> Path:
        """Return the dataset's file in ``folder``; write it if it does not exist."""
        path = folder / f"{self.side}-{self.classes}-{self.train}-{self.test}-{self.seed}.h5"
        if not path.exists():
            random = np.random.default_rng(self.seed)
            pictures = random.integers(0, 256, (self.classes, self.side, self.side))
            train, test = (self._split(random, pictures, count) for count in (self.train, self.test))
            drawn.write(path, train, test, [str(number) for number in range(self.classes)])
        return path

    @staticmethod
    def _split(random: np.random.Generator, pictures: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = random.integers(0, len(pictures), count).astype(np.uint8)
        noise = random.integers(-120, 121, (count, *pictures.shape[1:]))
        return (pictures[labels] + noise).clip(0, 255).astype(np.uint8), labels
