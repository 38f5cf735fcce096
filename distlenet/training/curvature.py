"""The curvature that the Levenberg-Marquardt optimizer divides by, estimated from time to time by all ranks."""

import numpy as np

from distlenet.data.leaves import Leaves
from distlenet.parallel import Communicator
from distlenet.parallel.agreement import in_agreement
from distlenet.training.bus import Bus
from distlenet.training.non_finite import explain_non_finite
from distlenet.training.state import TrainState

FIRST_PASS = 2000  # images between two estimates in the first epoch, when the curvature grows fast


def is_due(epoch: int, step: int, batch_size: int) -> bool:
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
    if curvature is None or not is_due(state.progress.epoch, state.progress.step, plan.batch_size):
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
