"""The training images of one rank, served leaf by leaf: from memory, or streamed block by block, reading ahead.

Both give the same rows. The plan permutes the blocks of a shard, then the rows within each block, so a step needs one
block of every shard, or two at the end of a block.
"""

import math
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np

from distlenet.data.augmentation import Augmentation, Resampler
from distlenet.data.disturbances import Disturbance
from distlenet.data.plan import Plan

Rows = tuple[np.ndarray, np.ndarray]  # images (n, rows, columns) uint8, labels (n,) uint8


class Source(Protocol):
    """The source of the rows: an open dataset file, or a stand-in."""

    image_shape: tuple[int, int]

    def read(self, split: str, start: int, stop: int, *, verify: bool = False) -> Rows:
        """Return rows ``start`` to ``stop - 1``; with ``verify``, raises DataError if their checksums do not match."""
        ...


class Leaves:
    """Takes leaves from a rank's shards and turns them into the network's input.

    Shards of at most ``memory_limit`` bytes of images and labels together are held in memory; larger ones are streamed.
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
        """Start with ``shards``: see ``own``."""
        self.plan, self.augmentation = plan, augmentation
        self._digits, self._resampler, self._memory_limit = digits, resampler, memory_limit
        self._noise_of: tuple[int, int] | None = None  # (epoch, step) of the noise
        self._noise = np.empty((0, 0))
        self.shards = list(shards)
        self._source = self._open(self.shards)

    def own(self, shards: Sequence[int]) -> None:
        """Serve only ``shards``, which must be contiguous, from now on.

        Raises DataError if their checksums do not match; for streamed shards ``load`` raises it later.
        """
        self._source.close()  # frees its memory before more is allocated
        self.shards, self._noise_of = [], None  # stays empty if they cannot be read
        self._source, self.shards = self._open(shards), list(shards)

    def _open(self, shards: Sequence[int]) -> "InMemory | Streamed":
        first, last = self.plan.bounds(shards[0])[0], self.plan.bounds(shards[-1])[1]
        size = (last - first) * (math.prod(self._digits.image_shape) + 1)  # a label is a byte
        if size > self._memory_limit:
            return Streamed(self._digits, self.plan)
        return InMemory(self._digits, self.plan, first, last)

    @property
    def streamed(self) -> bool:
        """Whether the shards are streamed."""
        return isinstance(self._source, Streamed)

    def load(self, epoch: int, step: int, shard: int) -> tuple[np.ndarray, np.ndarray]:
        """Return x (1, rows, columns, n) float32 and labels (n,); n is 0 once the shard is used up.

        x is a buffer that the next call overwrites. Raises DataError if streamed rows cannot be read or do not match
        their checksum, OwnCodeError if a user-defined augmentation fails.
        """
        return self._prepare(*self._source.take(epoch, step, shard), epoch, step, shard)

    def load_any(self, epoch: int, step: int, shard: int, verify: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Like ``load``, for any shard: rows of other ranks' shards are read from the file, one by one.

        With ``verify`` all rows are read and compared with their checksums. Raises DataError, OwnCodeError.
        """
        if shard in self.shards and not verify:
            return self.load(epoch, step, shard)
        rows = self.plan.rows(epoch, step, shard) + self.plan.bounds(shard)[0]
        parts = [self._digits.read("train", row, row + 1, verify=verify) for row in rows.tolist()]
        parts = parts or [self._digits.read("train", 0, 0)]
        images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return self._prepare(images, labels, epoch, step, shard)

    def _prepare(
        self, pictures: np.ndarray, few: np.ndarray, epoch: int, step: int, shard: int
    ) -> tuple[np.ndarray, np.ndarray]:
        labels = few.astype(np.intp)
        if self.augmentation.own and len(labels):
            pictures = self.augmentation.own.apply(pictures, self.plan.seed, epoch, step, shard)
        if not self.augmentation.active or not len(labels):
            return self._resampler.normalize(pictures), labels
        if self._noise_of != (epoch, step):
            self._noise = self.augmentation.noise(self.plan.seed, epoch, step, self.plan.batch_size)
            self._noise_of = epoch, step
        first = shard * self.plan.leaf
        maps = self.augmentation.maps(self._noise[first : first + len(labels)], *pictures.shape[1:])
        disturb = self.augmentation.disturb
        disturbance = Disturbance(disturb, self.plan.seed, epoch, step, shard) if disturb else None
        return self._resampler.warp(pictures, maps, disturbance), labels


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
        """Release the rows."""
        self._rows = np.empty((0, 0, 0), np.uint8), np.empty(0, np.uint8)


class Streamed:
    """Shards of any length, with two blocks of each in memory: the current one and the next, read by a thread.

    A block is verified every time it is read. If steps are taken in order, training waits only for a disk that is
    slower than training itself. Leaves may also be taken in any other order; then each call waits for its block.
    """

    def __init__(self, digits: Source, plan: Plan) -> None:
        self._digits, self._plan = digits, plan
        self._none = digits.read("train", 0, 0)
        self._held: dict[int, dict[int, Future[Rows]]] = {}  # by shard: its blocks in memory or being read
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
        blocks = list(dict.fromkeys(block_of.tolist()))  # usually one, in order of use
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
        """Return the block after ``block`` in order of use, and one more if it is shorter than a leaf."""
        order = self._plan.blocks(epoch, shard) + self._plan.blocks(epoch + 1, shard)[:2]
        following = order.index(block) + 1
        first, stop = self._plan.block_bounds(shard, order[following])
        return order[following : following + (1 if stop - first >= self._plan.leaf else 2)]

    def _hold(self, shard: int, blocks: list[int]) -> None:
        """Start reading those of ``blocks`` not in memory, and release the shard's other blocks."""
        held = self._held.get(shard, {})
        self._held[shard] = {
            block: held.get(block) or self._reader.submit(self._read, shard, block) for block in blocks
        }

    def _read(self, shard: int, block: int) -> Rows:
        start = self._plan.bounds(shard)[0]
        first, stop = self._plan.block_bounds(shard, block)
        return self._digits.read("train", start + first, start + stop, verify=True)

    def close(self) -> None:
        """Stop reading ahead."""
        self._reader.shutdown(wait=False, cancel_futures=True)
