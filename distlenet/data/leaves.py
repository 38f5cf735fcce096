"""The training images of one rank, served leaf by leaf: from memory, or read block by block ahead of their use.

Both give the same rows. The plan permutes the blocks of a shard, then the rows within each, so that a step needs
one block of every shard, or two where it goes on to the next.
"""

import math
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np

from distlenet.data.augmentation import Augmentation, Resampler
from distlenet.data.plan import Plan

Rows = tuple[np.ndarray, np.ndarray]  # images (n, rows, columns) uint8, labels (n,) uint8


class Source(Protocol):
    """What the rows are read from: an open dataset file, or a stand-in."""

    image_shape: tuple[int, int]

    def read(self, split: str, start: int, stop: int, *, verify: bool = False) -> Rows:
        """Return rows ``start`` to ``stop - 1``; with ``verify``, raises DataError if their checksums do not match."""
        ...


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
        self._noise_of: tuple[int, int] | None = None  # (epoch, step) of the noise
        self._noise = np.empty((0, 0))
        self.shards = list(shards)
        self._source = self._open(self.shards)

    def own(self, shards: Sequence[int]) -> None:
        """Serve ``shards``, a contiguous run, from now on, and read no others.

        Raises DataError if their checksums do not match; of shards that are streamed, ``load`` does so later.
        """
        self._source.close()  # its memory is free before more is taken
        self.shards, self._noise_of = [], None  # none, where they cannot be read
        self._source, self.shards = self._open(shards), list(shards)

    def _open(self, shards: Sequence[int]) -> "InMemory | Streamed":
        first, last = self.plan.bounds(shards[0])[0], self.plan.bounds(shards[-1])[1]
        size = (last - first) * (math.prod(self._digits.image_shape) + 1)  # a label is a byte
        if size > self._memory_limit:
            return Streamed(self._digits, self.plan)
        return InMemory(self._digits, self.plan, first, last)

    @property
    def streamed(self) -> bool:
        """Whether the shards are read while they are used."""
        return isinstance(self._source, Streamed)

    def load(self, epoch: int, step: int, shard: int) -> tuple[np.ndarray, np.ndarray]:
        """Return x (1, rows, columns, n) float32 and labels (n,); n is 0 once the shard is used up.

        x is a buffer that the next call overwrites. Raises DataError where streamed rows cannot be read or
        do not match their checksum, OwnCodeError where an augmentation of the user's own fails.
        """
        pictures, few = self._source.take(epoch, step, shard)
        labels = few.astype(np.intp)
        if self.augmentation.own and len(labels):
            pictures = self.augmentation.own.apply(pictures, self.plan.seed, epoch, step, shard)
        if not self.augmentation.active or not len(labels):
            return self._resampler.normalize(pictures), labels
        if self._noise_of != (epoch, step):
            self._noise = self.augmentation.noise(self.plan.seed, epoch, step, self.plan.batch_size)
            self._noise_of = epoch, step
        place = shard * self.plan.leaf
        maps = self.augmentation.maps(self._noise[place : place + len(labels)], *pictures.shape[1:])
        return self._resampler.warp(pictures, maps), labels


class InMemory:
    """Training rows ``first`` to ``last`` - 1, read once; raises DataError if their checksums do not match."""

    def __init__(self, digits: Source, plan: Plan, first: int, last: int) -> None:
        self._plan, self._first = plan, first
        self._rows = digits.read("train", first, last, verify=True)

    def take(self, epoch: int, step: int, shard: int) -> Rows:
        """Return the rows of the shard's leaf."""
        rows = self._plan.rows(epoch, step, shard) + (self._plan.bounds(shard)[0] - self._first)
        images, labels = self._rows
        return images[rows], labels[rows]

    def close(self) -> None:
        """Let go of the rows."""
        self._rows = np.empty((0, 0, 0), np.uint8), np.empty(0, np.uint8)


class Streamed:
    """Shards of any length, in the memory of two blocks each: the one in use, and the next, read by a thread.

    A block is verified every time it is read. Step after step, training waits only for a disk that is slower
    than itself; leaves may be taken in any other order, too, and are waited for.
    """

    def __init__(self, digits: Source, plan: Plan) -> None:
        self._digits, self._plan = digits, plan
        self._none = digits.read("train", 0, 0)
        self._held: dict[int, dict[int, Future[Rows]]] = {}  # by shard: its blocks that are read or being read
        self._used: dict[int, tuple[int, list[int]]] = {}  # by shard: epoch and blocks of the last leaf
        self._reader = ThreadPoolExecutor(1, "read-ahead")

    def held(self, shard: int) -> list[int]:
        """Return the blocks of ``shard`` that are in memory or being read."""
        return list(self._held.get(shard, {}))

    def take(self, epoch: int, step: int, shard: int) -> Rows:
        """Return the rows of the shard's leaf; raises DataError if they cannot be read or are damaged."""
        rows = self._plan.rows(epoch, step, shard)
        if not len(rows):
            return self._none
        block_of = self._plan.block_of(rows)
        blocks = list(dict.fromkeys(block_of.tolist()))  # mostly one, in the order of their use
        if self._used.get(shard) != (epoch, blocks):
            self._hold(shard, [*blocks, *self._ahead(epoch, shard, blocks[-1])])
            self._used[shard] = epoch, blocks
        parts = []
        for block in blocks:
            images, labels = self._held[shard][block].result()
            here = rows[block_of == block] - self._plan.block_bounds(shard, block)[0]
            parts.append((images[here], labels[here]))
        return np.concatenate([images for images, _ in parts]), np.concatenate([labels for _, labels in parts])

    def _ahead(self, epoch: int, shard: int, block: int) -> list[int]:
        """Return the block that is used after ``block``, and one more if that does not fill a leaf."""
        order = self._plan.blocks(epoch, shard) + self._plan.blocks(epoch + 1, shard)[:2]
        place = order.index(block) + 1
        first, stop = self._plan.block_bounds(shard, order[place])
        return order[place : place + (1 if stop - first >= self._plan.leaf else 2)]

    def _hold(self, shard: int, blocks: list[int]) -> None:
        """Have ``blocks`` read if they are not, and let go of all others of the shard."""
        held = self._held.get(shard, {})
        self._held[shard] = {
            block: held.get(block) or self._reader.submit(self._read, shard, block) for block in blocks
        }

    def _read(self, shard: int, block: int) -> Rows:
        start = self._plan.bounds(shard)[0]
        first, stop = self._plan.block_bounds(shard, block)
        return self._digits.read("train", start + first, start + stop, verify=True)

    def close(self) -> None:
        """Read no further."""
        self._reader.shutdown(wait=False, cancel_futures=True)
