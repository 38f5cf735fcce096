"""One process alone: the communicator whose every collective is its own argument."""

from typing import Any

import numpy as np

from distlenet.parallel.tree import Tree


class Serial:
    """The communicator of a single process. See ``Communicator`` for the methods."""

    rank, size, is_root = 0, 1, True
    description = "one process"
    survives_losses = False
    exchange_seconds = 0.0

    def __init__(self) -> None:
        self._trees: dict[int, Tree] = {}

    def allreduce_leaves(self, leaves: np.ndarray, shards: int) -> np.ndarray:
        """Add up all leaves (shards, length) in tree order; returns (length,)."""
        if shards not in self._trees:
            self._trees[shards] = Tree(1, shards)
        self._trees[shards].add_local(0, leaves)
        return leaves[0]

    def allreduce(self, values: np.ndarray) -> None:
        """Nothing to add."""

    def broadcast(self, value: Any, source: int = 0) -> Any:
        """Return ``value``."""
        return value

    def broadcast_array(self, array: np.ndarray, source: int = 0) -> None:
        """Nothing to copy."""

    def allgather(self, value: Any) -> list[Any]:
        """Return ``[value]``."""
        return [value]

    def split(self, teams: int) -> tuple[int, "Serial"]:
        """Return this process as the only team."""
        return 0, self

    def recover(self) -> list[int]:
        """Nobody can be lost."""
        return []

    def leave(self, code: int) -> int:
        """Return ``code``."""
        return code

    def abort(self, code: int) -> None:
        """Nothing to end: the caller's exception ends the process."""
