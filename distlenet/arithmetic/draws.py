"""Random draws from raw Philox words: the same on any CPU, with any numpy.

Philox (Salmon et al. 2011) makes word after word from a key and a counter, without a state to store. numpy promises
these words, but not the numbers that its Generator makes of them. Here every rule is fixed; README.md states which word
makes which draw.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from distlenet.arithmetic.functions import cos, log, sin

Size = int | Sequence[int] | None  # of an array of draws; None: one number
TURN = 2 * math.pi


class Draws:
    """The methods of numpy's Generator that this package and most augmentations use, by portable rules.

    Each call takes the next words of the stream, in C order of the result: one word for a number; two for two normal
    ones; as many as elements for a permutation.
    """

    def __init__(self, key: Sequence[int], counter: Sequence[int]) -> None:
        """Start the stream of ``key`` (2 words) at ``counter`` (4 words), the least significant ones first."""
        self._philox = np.random.Philox(key=np.array(key, np.uint64), counter=np.array(counter, np.uint64))

    def words(self, count: int) -> np.ndarray:
        """Return the next words of the stream: (count,) uint64."""
        return self._philox.random_raw(count)

    def random(self, size: Size = None) -> Any:
        """Return numbers uniform in [0, 1): multiples of 2^-53."""
        return _shaped((self.words(_count(size)) >> np.uint64(11)) * 2.0**-53, size)

    def uniform(self, low: float = 0.0, high: float = 1.0, size: Size = None) -> Any:
        """Return numbers uniform from ``low`` to ``high``."""
        return low + (high - low) * self.random(size)

    def standard_normal(self, size: Size = None) -> Any:
        """Return normal numbers of mean 0 and standard deviation 1 (Box and Muller 1958)."""
        count = _count(size)
        words = self.words(2 * -(-count // 2)).reshape(-1, 2)
        within = ((words[:, 0] >> np.uint64(12)) + 0.5) * 2.0**-52  # never 0 or 1
        radius = np.sqrt(-2 * log(within))
        angle = TURN * ((words[:, 1] >> np.uint64(11)) * 2.0**-53)
        pairs = np.stack([radius * cos(angle), radius * sin(angle)], axis=1)
        return _shaped(pairs.reshape(-1)[:count], size)

    def normal(self, loc: float = 0.0, scale: float = 1.0, size: Size = None) -> Any:
        """Return normal numbers of mean ``loc`` and standard deviation ``scale``."""
        return loc + scale * self.standard_normal(size)

    def integers(self, low: int, high: int | None = None, size: Size = None) -> Any:
        """Return whole numbers from ``low`` to ``high`` - 1, or from 0 to ``low`` - 1: int64.

        They are the remainders of the words, so those of n numbers differ in probability by less than n / 2^64.
        """
        low, high = (0, low) if high is None else (low, high)
        if high <= low:
            raise ValueError(f"low {low} and high {high}: expected low < high")
        return _shaped((self.words(_count(size)) % np.uint64(high - low)).astype(np.int64) + low, size)

    def permutation(self, x: Any) -> np.ndarray:
        """Return 0 to ``x`` - 1, or the rows of the array ``x``, in random order."""
        rows = np.arange(x) if isinstance(x, int | np.integer) else np.asarray(x)
        return rows[np.argsort(self.words(len(rows)), kind="stable")]

    def __getattr__(self, name: str) -> Any:
        known = ", ".join(name for name in vars(Draws) if not name.startswith("_") and name != "words")
        raise AttributeError(f"portable random numbers have no {name!r}: expected one of {known}")


def _count(size: Size) -> int:
    return 1 if size is None else math.prod(size) if isinstance(size, Sequence) else int(size)


def _shaped(numbers: np.ndarray, size: Size) -> Any:
    return numbers[0] if size is None else numbers.reshape(size)
