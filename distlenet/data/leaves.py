"""The training images of one rank, served leaf by leaf."""

from collections.abc import Iterable

import numpy as np

from distlenet.data.augmentation import Augmentation, Resampler
from distlenet.data.digitfile import DigitFile
from distlenet.data.plan import Plan


class Leaves:
    """Holds the shards that a rank owns in memory and turns rows of them into the network's input."""

    def __init__(
        self,
        digits: DigitFile,
        plan: Plan,
        shards: Iterable[int],
        augmentation: Augmentation,
        resampler: Resampler,
    ) -> None:
        """Read the shards, and only those, from the file; DataError if their checksums do not match."""
        self.plan, self.augmentation = plan, augmentation
        self._digits, self._resampler = digits, resampler
        self._noise_of: tuple[int, int] | None = None
        self.own(shards)

    def own(self, shards: Iterable[int]) -> None:
        """Hold ``shards``, a contiguous run, from now on; DataError if their checksums do not match."""
        plan, digits, self.shards = self.plan, self._digits, list(shards)
        first, last = plan.bounds(self.shards[0])[0], plan.bounds(self.shards[-1])[1]
        images, labels = digits.read("train", first, last, verify=True)
        bounds = {shard: plan.bounds(shard) for shard in self.shards}
        self._images = {s: images[a - first : b - first] for s, (a, b) in bounds.items()}
        self._labels = {s: labels[a - first : b - first].astype(np.intp) for s, (a, b) in bounds.items()}
        self._noise_of: tuple[int, int] | None = None

    def load(self, epoch: int, step: int, shard: int) -> tuple[np.ndarray, np.ndarray]:
        """Return x (1, rows, columns, n) float32 and labels (n,); n is 0 once the shard is used up.

        x is a buffer that the next call overwrites.
        """
        rows = self.plan.rows(epoch, step, shard)
        pictures, labels = self._images[shard][rows], self._labels[shard][rows]
        if not self.augmentation.active or not len(rows):
            return self._resampler.normalize(pictures), labels
        if self._noise_of != (epoch, step):
            self._noise = self.augmentation.noise(self.plan.seed, epoch, step, self.plan.batch_size)
            self._noise_of = epoch, step
        place = shard * self.plan.leaf
        maps = self.augmentation.maps(self._noise[place : place + len(rows)], *pictures.shape[1:])
        return self._resampler.warp(pictures, maps), labels
