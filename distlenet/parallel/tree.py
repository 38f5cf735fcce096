"""The reduction tree: a fixed order of additions over the shards, independent of the ranks.

Floating-point addition is not associative: (a + b) + c and a + (b + c) may differ in the last bit. A sum that must be
the same for any number of ranks therefore needs an order that does not depend on them. Node (h, k) of the tree is the
sum of shards k * 2^h to min((k + 1) * 2^h, S) - 1. It is its left child plus its right child, or just its left child
if the right one lies beyond the last shard.

A node's value is kept in the row of its FIRST shard, so the whole tree is a list of in-place additions
"row ``left`` += row ``right``".
"""

from dataclasses import dataclass

import numpy as np


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


def additions(shards: int) -> list[Addition]:
    """List the additions of the whole tree, lower levels first."""
    steps, reach = [], 1
    while reach < shards:
        for left in range(0, shards - reach, 2 * reach):
            steps.append(Addition(left, left + reach, min(left + 2 * reach, shards)))
        reach *= 2
    return steps


class Tree:
    """The additions that one rank can do alone, and those that need several."""

    def __init__(self, size: int, shards: int) -> None:
        self.runs = [owned_shards(rank, size, shards) for rank in range(size)]
        steps = additions(shards)
        self.local = [[step for step in steps if step.within(run)] for run in self.runs]
        self.shared = [step for step in steps if not any(step.within(run) for run in self.runs)]
        # the nodes that remain on each rank and must be sent, by their first shard
        gone = {step.right for steps in self.local for step in steps}
        self.nodes = [[shard for shard in run if shard not in gone] for run in self.runs]

    def add_local(self, rank: int, leaves: np.ndarray) -> None:
        """Do the additions that ``rank`` can do alone, in place; ``leaves`` is (owned shards, length)."""
        first = self.runs[rank].start
        for step in self.local[rank]:
            leaves[step.left - first] += leaves[step.right - first]

    def add_shared(self, rows: dict[int, np.ndarray]) -> np.ndarray:
        """Add the nodes of all ranks in place, given by their first shard; return the row of the tree's root."""
        for step in self.shared:
            rows[step.left] += rows[step.right]
        return rows[0]
