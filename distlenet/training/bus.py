"""The one vector that travels between ranks in a step: all gradients, then a short tail.

What the ranks must agree on rides in the tail and is added up with the gradients, so that a step needs
no second message.
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
        """Return the view (parameters,) that the gradient of the leaf ``slot`` is written to."""
        return self.leaves[slot, : self.parameters]

    def set_tail(self, slot: int, **values: float) -> None:
        """Fill the tail of the leaf ``slot``; what is not named is zero."""
        self.leaves[slot, self.parameters :] = [values.get(name, 0) for name in TAIL]

    def clear(self, slot: int) -> None:
        """Make the leaf ``slot`` empty: zeros, added like any other."""
        self.leaves[slot] = 0

    def split(self, total: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
        """Return the gradient (parameters,) and the tail by name of a reduced vector."""
        return total[: self.parameters], dict(zip(TAIL, total[self.parameters :].tolist(), strict=True))


@phase("computing")
def compute_leaves(state: TrainState, leaves: Leaves, bus: Bus, signals: Signals) -> None:
    """Fill the bus: the gradient sum, loss, hits and count of each owned shard's micro-batch, and this rank's votes."""
    votes = signals.votes()
    for slot, shard in enumerate(leaves.shards):
        try:
            x, labels = leaves.load(state.progress.epoch, state.progress.step, shard)
        except (DataError, OwnCodeError):
            bus.leaves[slot] = np.nan  # so that all ranks stop at this step, and ask again what is wrong
            continue
        if not len(labels):
            bus.clear(slot)
            bus.set_tail(slot, **votes)
        else:
            loss, correct = state.net.loss_and_grad(x, labels, bus.gradient(slot))
            bus.set_tail(slot, loss=loss, correct=correct, count=len(labels), **votes)
        advance()
        votes = {}  # once a rank
