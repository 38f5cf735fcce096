"""The vector that the ranks exchange in a step: all gradients, then a short tail.

The tail holds the loss, the counts and the ranks' votes. It is summed together with the gradients, so a step needs only
one message.
"""

import time

import numpy as np

from distlenet.activity import advance, phase
from distlenet.data.leaves import Leaves
from distlenet.errors import DataError, OwnCodeError, ReplicaError
from distlenet.training.signals import STOPS, Signals
from distlenet.training.state import TrainState

TAIL = ("loss", "correct", "count", "saves", "regroups", *STOPS)
SUMS = 3  # entries of the tail that belong to the leaf: loss, correct, count
AUDIT = 4  # numbers of each audited leaf behind the tail, see audit.py


class Bus:
    """The leaves of one rank's shards, (owned shards, parameters + tail + digests) float32.

    ``audited``: how many leaves a step audits at most; each has a digest of AUDIT numbers behind the tail.
    """

    def __init__(self, owned: int, parameters: int, audited: int = 0) -> None:
        self.parameters, self.audited = parameters, audited
        self.leaves = np.zeros((owned, parameters + len(TAIL) + AUDIT * audited), np.float32)

    def gradient(self, slot: int) -> np.ndarray:
        """Return the view (parameters,) for the gradient of the leaf ``slot``."""
        return self.leaves[slot, : self.parameters]

    def set_tail(self, slot: int, **values: float) -> None:
        """Fill the tail of the leaf ``slot``; entries that are not given become zero, and so do its digests."""
        self.leaves[slot, self.parameters : self.parameters + len(TAIL)] = [values.get(name, 0) for name in TAIL]
        self.leaves[slot, self.parameters + len(TAIL) :] = 0

    def digests(self, row: np.ndarray) -> np.ndarray:
        """Return the view (audited, AUDIT) of the digests in a leaf or in a reduced vector."""
        return row[self.parameters + len(TAIL) :].reshape(self.audited, AUDIT)

    def clear(self, slot: int) -> None:
        """Empty the leaf ``slot``: zeros are added like any other leaf."""
        self.leaves[slot] = 0

    def split(self, total: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
        """Split a reduced vector into the gradient (parameters,) and the tail by name."""
        tail = total[self.parameters : self.parameters + len(TAIL)]
        return total[: self.parameters], dict(zip(TAIL, tail.tolist(), strict=True))


@phase("computing")
def compute_leaves(state: TrainState, leaves: Leaves, bus: Bus, signals: Signals) -> float:
    """Fill the bus: each owned shard's sums of gradients and loss, its counts, and this rank's votes.

    Returns the seconds spent loading and augmenting.
    """
    votes, loading = signals.votes(), 0.0
    for slot, shard in enumerate(leaves.shards):
        start = time.perf_counter()
        try:
            x, labels = leaves.load(state.progress.epoch, state.progress.step, shard)
            loading += time.perf_counter() - start
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
    return loading


def check_count(tail: dict[str, float], state: TrainState, leaves: Leaves) -> None:
    """Check that the sum, whose ``tail`` is given, has the images of this step; raises ReplicaError on every rank."""
    expected = leaves.plan.count(state.progress.step)
    if tail["count"] != expected:
        where = state.progress.upcoming(leaves.plan.steps_per_epoch)
        raise ReplicaError(
            f"the gradients added up in {where} are those of {tail['count']:.0f} images, expected {expected}: a "
            "message between the ranks was lost; the parameters were not updated: continue with --resume auto"
        )
