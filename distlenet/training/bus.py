"""The vector that the ranks exchange in a step: all gradients, then a short tail.

The tail holds the loss, the counts and the ranks' votes. It is summed together with the gradients, so a step needs only
one message. Levenberg-Marquardt's curvature takes the same way.
"""

import time

import numpy as np

from distlenet.activity import advance, phase
from distlenet.data.leaves import Leaves
from distlenet.errors import DataError, OwnCodeError, ReplicaError
from distlenet.parallel import Communicator
from distlenet.parallel.agreement import in_agreement
from distlenet.training.postmortem import explain_non_finite
from distlenet.training.signals import STOPS, Signals
from distlenet.training.state import TrainState

TAIL = ("loss", "correct", "count", "saves", "regroups", *STOPS)
SUMS = 3  # entries of the tail that belong to the leaf: loss, correct, count
AUDIT = 4  # numbers of each audited leaf behind the tail, see audit.py
FIRST_PASS = 2000  # images between two estimates in the first epoch, when the curvature grows fast


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


def curvature_is_due(epoch: int, step: int, batch_size: int) -> bool:
    """Whether the curvature is estimated before ``step`` of ``epoch``: at its start, and more often in the first."""
    return step == 0 or (epoch == 0 and step % max(1, FIRST_PASS // batch_size) == 0)


def refresh_curvature(state: TrainState, leaves: Leaves, bus: Bus, comm: Communicator) -> None:
    """Estimate the optimizer's curvature from the next steps' images, if it uses one and an estimate is due.

    The mean over the images goes through the reduction tree like a gradient, so it has the same bits on any number of
    ranks. It depends only on the position and the parameters. Between two estimates it is part of the optimizer's
    state, so a resumed run has the same curvature. Uses the bus. Raises on every rank: NonFiniteError, or DataError if
    a rank cannot read its images.
    """
    plan, curvature = leaves.plan, state.optimizer.state.get("curvature")
    if curvature is None or not curvature_is_due(state.progress.epoch, state.progress.step, plan.batch_size):
        return
    part = np.empty_like(curvature)
    steps = -(-int(state.optimizer.settings["curvature_samples"]) // plan.batch_size)
    with in_agreement(comm):  # if one rank cannot read its images, the others must not wait for it
        for slot, shard in enumerate(leaves.shards):
            bus.clear(slot)
            count = 0
            for step in range(state.progress.step, state.progress.step + steps):
                x, labels = leaves.load(state.progress.epoch, step, shard)
                if len(labels):
                    state.net.curvature(x, part)
                    bus.gradient(slot)[...] += part
                    count += len(labels)
            bus.set_tail(slot, count=count)
    total = comm.allreduce_leaves(bus.leaves, plan.shards)
    if not np.isfinite(total).all():
        raise explain_non_finite(state, leaves, comm, "only in the curvature, not in the gradient of the first step")
    total, tail = bus.split(total)
    np.divide(total, np.float32(tail["count"]), out=curvature)
