"""The reduction tree: a fixed order of additions over the shards, independent of the ranks.

Floating-point addition is not associative: (a + b) + c and a + (b + c) may differ in the last bit. A sum that must be
the same for any number of ranks therefore needs an order that does not depend on them. Node (h, k) of the tree is the
sum of shards k * 2^h to min((k + 1) * 2^h, S) - 1. It is its left child plus its right child, or just its left child
if the right one lies beyond the last shard.

A node's value is kept in the row of its FIRST shard, so the whole tree is a list of in-place additions
"row ``left`` += row ``right``".
"""

from dataclasses import dataclass
from functools import cache


def owned_shards(rank: int, size: int, shards: int) -> range:
    """Return the shards of ``rank`` out of ``size`` ranks: contiguous, and divided as evenly as possible."""
    return range(rank * shards // size, (rank + 1) * shards // size)


@dataclass(frozen=True)
class Addition:
    """Row ``left`` += row ``right``; afterwards row ``left`` is the sum of shards ``left`` to ``stop`` - 1."""

    left: int
    right: int
    stop: int

    def within(self, shards: range) -> bool:
        """Whether all the added shards belong to ``shards``."""
        return shards.start <= self.left and self.stop <= shards.stop


@cache
def additions(shards: int) -> list[Addition]:
    """List the additions of the whole tree, lower levels first."""
    steps, reach = [], 1
    while reach < shards:
        for left in range(0, shards - reach, 2 * reach):
            steps.append(Addition(left, left + reach, min(left + 2 * reach, shards)))
        reach *= 2
    return steps


def additions_within(run: range, shards: int) -> list[Addition]:
    """List the additions that the owner of the shards in ``run`` can do alone, in order."""
    return [step for step in additions(shards) if step.within(run)]


def nodes_within(run: range, shards: int) -> list[int]:
    """List the nodes left of ``run`` after these additions, by their first shard: the largest that lie within it."""
    found, start = [], run.start
    while start < run.stop:
        found.append(start)
        reach = 1
        while start % (2 * reach) == 0 and min(start + 2 * reach, shards) <= run.stop and start + reach < shards:
            reach *= 2
        start += reach
    return found
