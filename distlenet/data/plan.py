"""Who trains on what, and when: a pure function of the seed and the position.

The training set is cut into ``shards`` fixed parts; each step takes one micro-batch (a *leaf*) of
``batch_size / shards`` images from every shard. Nothing here depends on the number of ranks, so the
global batch of a step is the same however the shards are spread over them.
"""

from dataclasses import dataclass, field

import numpy as np

BLOCK = 8192  # rows that are read together when a shard is streamed
ORDER, NOISE = 1, 2  # purposes: each has random streams of its own


def random_stream(seed: int, purpose: int, *position: int) -> np.random.Generator:
    """Return the generator of a place in the run: counter-based, so no state is ever stored.

    ``position`` is up to three integers, for example (epoch, step).
    """
    counter = [0, *position, *[0] * (3 - len(position))]  # the first word counts the draws
    return np.random.Generator(np.random.Philox(key=[seed, purpose], counter=counter))


@dataclass(frozen=True)
class Plan:
    """The order of a training set of ``samples`` images in ``shards`` parts."""

    samples: int
    shards: int
    batch_size: int
    seed: int
    _orders: dict = field(default_factory=dict, repr=False, compare=False)

    @property
    def leaf(self) -> int:
        """Images one shard gives to one step."""
        return self.batch_size // self.shards

    def bounds(self, shard: int) -> tuple[int, int]:
        """Return the first row of ``shard`` and the row after its last."""
        return shard * self.samples // self.shards, (shard + 1) * self.samples // self.shards

    @property
    def steps_per_epoch(self) -> int:
        """Steps until the longest shard has given each of its images once."""
        longest = -(-self.samples // self.shards)
        return -(-longest // self.leaf)

    def count(self, step: int) -> int:
        """Images in the global batch of ``step`` (0-based within the epoch)."""
        lengths = (stop - start for start, stop in map(self.bounds, range(self.shards)))
        return sum(max(0, min(self.leaf, length - step * self.leaf)) for length in lengths)

    def rows(self, epoch: int, step: int, shard: int) -> np.ndarray:
        """Return the rows of ``shard``'s leaf, counted from the shard's first: (leaf,) or fewer at the end."""
        order = self._orders.get((epoch, shard))
        if order is None:
            for key in [key for key in self._orders if key[0] != epoch]:
                del self._orders[key]
            order = self._orders[epoch, shard] = self._shuffle(epoch, shard)
        return order[step * self.leaf : (step + 1) * self.leaf]

    def _shuffle(self, epoch: int, shard: int) -> np.ndarray:
        """Permute the blocks of the shard, then the rows within each: (rows of the shard,)."""
        start, stop = self.bounds(shard)
        random = random_stream(self.seed, ORDER, epoch, shard)
        length = stop - start
        blocks = [np.arange(first, min(first + BLOCK, length)) for first in range(0, length, BLOCK)]
        if not blocks:
            return np.arange(0)
        return np.concatenate([random.permutation(blocks[place]) for place in random.permutation(len(blocks))])
