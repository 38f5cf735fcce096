"""The vector that the ranks exchange in a step: all gradients, then a short tail.

The tail holds the loss, the counts and the ranks' votes. It is summed together with the gradients, so a step needs only
one message.
"""

import numpy as np

from distlenet.activity import advance, phase
from distlenet.data.leaves import Leaves
from distlenet.errors import DataError, OwnCodeError
from distlenet.training.signals import STOPS, Signals
from distlenet.training.state import TrainState

TAIL = ("loss", "correct", "count", "saves", *STOPS)


class Bus:
    """The leaves of one rank's shards, (owned shards, parameters + tail) float32."""

    def __init__(self, owned: int, parameters: int) -> None:
        self.parameters = parameters
        self.leaves = np.zeros((owned, parameters + len(TAIL)), np.float32)

    def gradient(self, slot: int) -> np.ndarray:
        """Return the view (parameters,) for the gradient of the leaf ``slot``."""
        return self.leaves[slot, : self.parameters]

    def set_tail(self, slot: int, **values: float) -> None:
        """Fill the tail of the leaf ``slot``; entries that are not given become zero."""
        self.leaves[slot, self.parameters :] = [values.get(name, 0) for name in TAIL]

    def clear(self, slot: int) -> None:
        """Empty the leaf ``slot``: zeros are added like any other leaf."""
        self.leaves[slot] = 0

    def split(self, total: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
        """Split a reduced vector into the gradient (parameters,) and the tail by name."""
        return total[: self.parameters], dict(zip(TAIL, total[self.parameters :].tolist(), strict=True))


@phase("computing")
def compute_leaves(state: TrainState, leaves: Leaves, bus: Bus, signals: Signals) -> None:
    """Fill the bus: each owned shard's sums of gradients and loss, its counts, and this rank's votes."""
    votes = signals.votes()
    for slot, shard in enumerate(leaves.shards):
        try:
            x, labels = leaves.load(state.progress.epoch, state.progress.step, shard)
            if not len(labels):
                bus.clear(slot)
                bus.set_tail(slot, **votes)
            else:
                loss, correct = state.net.loss_and_grad(x, labels, bus.gradient(slot))
                bus.set_tail(slot, loss=loss, correct=correct, count=len(labels), **votes)
        except (DataError, OwnCodeError):
            bus.leaves[slot] = np.nan  # makes all ranks stop at this step and look for the cause
            continue
        advance()
        votes = {}  # each rank votes once
