"""Where did the first NaN or infinity appear? A second look at a step whose sum is not finite."""

import numpy as np

from distlenet.data.leaves import Leaves
from distlenet.errors import NonFiniteError
from distlenet.nn.inspection import first_non_finite
from distlenet.parallel import Communicator
from distlenet.parallel.agreement import in_agreement
from distlenet.training.state import TrainState


def explain_non_finite(
    state: TrainState,
    leaves: Leaves,
    comm: Communicator,
    otherwise: str = "only in the sum over the shards, whose parts are finite",
) -> NonFiniteError:
    """Return the error to raise, the same on every rank, before the update.

    Computes every leaf of the step again, layer by layer. If all leaves are finite, the error says ``otherwise``.
    Raises on every rank: DataError if any rank cannot read its images, OwnCodeError if it cannot augment them.
    """
    findings = []
    with in_agreement(comm):
        for shard in leaves.shards:
            x, labels = leaves.load(state.progress.epoch, state.progress.step, shard)
            place = first_non_finite(state.net, x, labels) if len(labels) else None
            if place:
                findings.append(f"on rank {comm.rank}, shard {shard}, first in {place}")
    found = [text for texts in comm.allgather(findings) for text in texts]
    where = found[0] if found else otherwise
    if len(found) > 1:
        where += f" (and in {len(found) - 1} other shards)"
    started = state.progress.steps > 0
    advice = "lower --lr" if started else "before the first update no --lr helps, choose another --init or --sigma"
    step = state.progress.upcoming(leaves.plan.steps_per_epoch)
    return NonFiniteError(
        f"{step}: NaN or infinity {where}; the update was skipped and the last checkpoint is untouched; {advice}, or "
        "look for the cause with --debug"
    )


def explain_spoiled(state: TrainState) -> NonFiniteError:
    """Return the error to raise if finite gradients led to parameters or optimizer vectors that are not finite.

    It is the same on every rank whose state is the same.
    """
    vectors = {f"the parameter {name}": parameter.value for name, parameter in state.net.parameters.items()}
    vectors |= {f"the optimizer's {name}": vector for name, vector in state.optimizer.state.items()}
    where = next(name for name, vector in vectors.items() if not np.isfinite(vector).all())
    return NonFiniteError(
        f"after {state.progress.position}: NaN or infinity in {where}, caused by the update; this state was not saved "
        "and the last checkpoint is untouched; lower --lr, or raise --epsilon if it is near 0"
    )
