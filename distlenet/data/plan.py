"""The order of the training images: a pure function of the seed and the position in the run.

The training set is divided into ``shards`` fixed parts; each step takes one micro-batch (a *leaf*) of
``batch_size / shards`` images from every shard. Nothing here depends on the number of ranks, so the global batch of a
step is the same for any distribution of the shards over ranks.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from distlenet.arithmetic import NATIVE, Arithmetic

ORDER, NOISE, OWN, DISTURBANCE = 1, 2, 3, 4  # purposes of random streams; 0 is that of initial parameters


@dataclass(frozen=True)
class Plan:
    """The order of a training set of ``samples`` images in ``shards`` parts."""

    samples: int
    shards: int
    batch_size: int
    seed: int
    block: int = 8192  # rows read together when a shard is streamed
    arithmetic: Arithmetic = NATIVE  # draws the order
    _orders: dict[int, "_Order"] = field(default_factory=dict, repr=False, compare=False)

    @property
    def leaf(self) -> int:
        """Images per shard and step."""
        return self.batch_size // self.shards

    def bounds(self, shard: int) -> tuple[int, int]:
        """Return the first row of ``shard`` and the row after its last."""
        return shard * self.samples // self.shards, (shard + 1) * self.samples // self.shards

    @property
    def steps_per_epoch(self) -> int:
        """Steps until every image of the longest shard has been used once."""
        longest = -(-self.samples // self.shards)
        return -(-longest // self.leaf)

    def count(self, step: int) -> int:
        """Return the number of images in the global batch of ``step`` (0-based within the epoch)."""
        lengths = (stop - start for start, stop in map(self.bounds, range(self.shards)))
        return sum(max(0, min(self.leaf, length - step * self.leaf)) for length in lengths)

    def rows(self, epoch: int, step: int, shard: int) -> np.ndarray:
        """Return the rows of ``shard``'s leaf, counted from the shard's first: (leaf,) or fewer at the end."""
        first, stop = step * self.leaf, (step + 1) * self.leaf
        order = self._orders.get(shard)
        if order is None or order.epoch != epoch or first < order.passed:
            order = self._orders[shard] = _Order(epoch, self._shuffled(epoch, shard))
        return order.rows(first, stop)

    def block_of(self, rows: np.ndarray) -> np.ndarray:
        """Return for each of a shard's ``rows`` (n,) the number of its block: (n,)."""
        return rows // self.block

    def block_bounds(self, shard: int, block: int) -> tuple[int, int]:
        """Return the first row of a block, counted from the shard's first, and the row after its last."""
        start, stop = self.bounds(shard)
        return block * self.block, min((block + 1) * self.block, stop - start)

    def blocks(self, epoch: int, shard: int) -> list[int]:
        """Return the numbers of the shard's blocks in the order in which the epoch uses them."""
        return self._order_blocks(epoch, shard)[0]

    def _order_blocks(self, epoch: int, shard: int) -> tuple[list[int], Any]:
        """Return ``blocks`` and the generator, which then permutes the rows within each block."""
        start, stop = self.bounds(shard)
        random = self.arithmetic.stream(self.seed, ORDER, epoch, shard)
        return random.permutation(-(-(stop - start) // self.block)).tolist(), random

    def _shuffled(self, epoch: int, shard: int) -> Iterator[np.ndarray]:
        """Yield the permuted rows of each block in turn: (block,), or fewer for the shard's last block."""
        blocks, random = self._order_blocks(epoch, shard)
        for block in blocks:
            yield random.permutation(np.arange(*self.block_bounds(shard, block)))


class _Order:
    """The order of one shard in one epoch, drawn on demand and released once passed.

    A shard of any length takes the memory of a block or two, and no step waits for the whole order to be drawn.
    """

    def __init__(self, epoch: int, blocks: Iterator[np.ndarray]) -> None:
        self.epoch, self.passed = epoch, 0  # number of positions already released
        self._blocks, self._drawn = blocks, np.arange(0)

    def rows(self, first: int, stop: int) -> np.ndarray:
        """Return positions ``first`` to ``stop`` - 1, fewer at the end; ``first`` must not have been released."""
        while self.passed + len(self._drawn) < stop:
            block = next(self._blocks, None)
            if block is None:
                break
            left = self._drawn[first - self.passed :]
            self.passed += len(self._drawn) - len(left)
            self._drawn = np.concatenate([left, block])
        return self._drawn[first - self.passed : stop - self.passed]
