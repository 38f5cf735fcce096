"""The training images of one rank, served leaf by leaf."""

import math
from collections.abc import Iterable

import numpy as np

from distlenet.activity import phase
from distlenet.data.augmentation import Augmentation, Resampler
from distlenet.data.plan import Plan
from distlenet.data.streaming import InMemory, Source, Streamed


class Leaves:
    """Takes leaves of the shards that a rank owns and turns them into the network's input.

    ``memory_limit`` is how many bytes of images and labels are held in memory; larger shares are streamed.
    """

    def __init__(
        self,
        digits: Source,
        plan: Plan,
        shards: Iterable[int],
        augmentation: Augmentation,
        resampler: Resampler,
        memory_limit: float = math.inf,
    ) -> None:
        """Own ``shards`` from the start: see ``own``."""
        self.plan, self.augmentation = plan, augmentation
        self._digits, self._resampler, self._memory_limit = digits, resampler, memory_limit
        self._source: InMemory | Streamed | None = None
        self.own(shards)

    def own(self, shards: Iterable[int]) -> None:
        """Serve ``shards``, a contiguous run, from now on, and read no others.

        Raises DataError if their checksums do not match; of shards that are streamed, ``load`` does so later.
        """
        if self._source:
            self._source.close()
        self._source = None  # its memory is free before more is taken
        self.shards = list(shards)
        first, last = self.plan.bounds(self.shards[0])[0], self.plan.bounds(self.shards[-1])[1]
        size = (last - first) * (math.prod(self._digits.image_shape) + 1)  # a label is a byte
        if size > self._memory_limit:
            self._source = Streamed(self._digits, self.plan)
        else:
            self._source = InMemory(self._digits, self.plan, first, last)
        self._noise_of: tuple[int, int] | None = None

    @property
    def streamed(self) -> bool:
        """Whether the shards are read while they are used."""
        return isinstance(self._source, Streamed)

    @phase("reading images")
    def load(self, epoch: int, step: int, shard: int) -> tuple[np.ndarray, np.ndarray]:
        """Return x (1, rows, columns, n) float32 and labels (n,); n is 0 once the shard is used up.

        x is a buffer that the next call overwrites. Raises DataError where streamed rows cannot be read or
        do not match their checksum.
        """
        pictures, labels = self._source.take(epoch, step, shard)
        labels = labels.astype(np.intp)
        if not self.augmentation.active or not len(labels):
            return self._resampler.normalize(pictures), labels
        if self._noise_of != (epoch, step):
            self._noise = self.augmentation.noise(self.plan.seed, epoch, step, self.plan.batch_size)
            self._noise_of = epoch, step
        place = shard * self.plan.leaf
        maps = self.augmentation.maps(self._noise[place : place + len(labels)], *pictures.shape[1:])
        return self._resampler.warp(pictures, maps), labels
