"""Do all ranks still hold the same parameters? They must, to the last bit; a flipped bit would spread."""

import hashlib
from collections import Counter

from distlenet.activity import advance, phase
from distlenet.errors import ReplicaError
from distlenet.parallel import Communicator
from distlenet.training.state import TrainState


def fingerprint(state: TrainState) -> str:
    """Return the SHA-256 of the parameters and the optimizer's vectors."""
    digest = hashlib.sha256(state.net.theta)
    for name in sorted(state.optimizer.state):
        digest.update(state.optimizer.state[name])
        advance()
    return digest.hexdigest()


@phase("comparing the ranks")
def check_replicas(state: TrainState, comm: Communicator) -> None:
    """Compare all ranks; raises ReplicaError on every rank, naming those that differ from the majority.

    One small message; called before every checkpoint, so that a bad one is never written.
    """
    prints = comm.allgather(fingerprint(state))
    usual, count = Counter(prints).most_common(1)[0]
    if count == comm.size:
        return
    if count > comm.size / 2:
        strays = [str(rank) for rank, found in enumerate(prints) if found != usual]
        who = f"rank{'s' if len(strays) > 1 else ''} {', '.join(strays)} of {comm.size} differ from the others"
    else:
        who = "no majority agrees: " + ", ".join(f"rank {rank}: {found[:8]}" for rank, found in enumerate(prints))
    raise ReplicaError(
        f"after {state.progress.place}, the ranks no longer hold the same parameters: {who}; "
        "nothing was written, go on from the last checkpoint by --resume auto (suspect that host's memory)"
    ).of_every_rank()
