"""Where the rows of a rank's shards come from: all of them in memory, or read block by block ahead of their use.

Both give the same rows. The plan permutes the blocks of a shard, then the rows within each, so that a step needs
one block of every shard, or two where it goes on to the next.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np

from distlenet.data.plan import Plan

Rows = tuple[np.ndarray, np.ndarray]  # images (n, rows, columns) uint8, labels (n,) uint8


class Source(Protocol):
    """What the rows are read from: an open dataset file, or a stand-in."""

    image_shape: tuple[int, int]

    def read(self, split: str, start: int, stop: int, *, verify: bool = False) -> Rows:
        """Return rows ``start`` to ``stop - 1``; with ``verify``, raises DataError if their checksums do not match."""
        ...


class InMemory:
    """Training rows ``first`` to ``last`` - 1, read once; raises DataError if their checksums do not match."""

    def __init__(self, digits: Source, plan: Plan, first: int, last: int) -> None:
        self._plan, self._first = plan, first
        self._images, self._labels = digits.read("train", first, last, verify=True)

    def take(self, epoch: int, step: int, shard: int) -> Rows:
        """Return the rows of the shard's leaf."""
        rows = self._plan.rows(epoch, step, shard) + (self._plan.bounds(shard)[0] - self._first)
        return self._images[rows], self._labels[rows]

    def close(self) -> None:
        """Nothing to end."""


class Streamed:
    """Shards of any length, in the memory of two blocks each: the one in use, and the next, read in a thread.

    A block is verified every time it is read. Step after step, training waits only for a disk that is slower
    than itself; leaves may be taken in any other order, too, and are waited for.
    """

    def __init__(self, digits: Source, plan: Plan) -> None:
        self._digits, self._plan = digits, plan
        self._none = digits.read("train", 0, 0)
        self._held: dict[int, dict[int, Future[Rows]]] = {}  # by shard: its blocks that are read or being read
        self._used: dict[int, tuple[int, list[int]]] = {}  # by shard: epoch and blocks of the last leaf
        self._reader = ThreadPoolExecutor(1, "read-ahead")

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
        images, labels = zip(*parts, strict=True)
        return np.concatenate(images), np.concatenate(labels)

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
