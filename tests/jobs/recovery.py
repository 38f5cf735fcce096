"""``recovery.py DEATHS``: sums, step by step, while ranks die. DEATHS is JSON: [[step, [ranks, as started]], ...].

After every loss the survivors agree on the newest step and continue from there; the root prints the survivors.
"""

import json
import os
import signal
import sys

import numpy as np

from distlenet.errors import RanksLost
from distlenet.parallel import Serial, owned_shards
from distlenet.parallel.mpi_recovery import RecoverableCommunicator

SHARDS, LENGTH, STEPS = 11, 1000, 12

deaths = dict(json.loads(sys.argv[1]))
comm = RecoverableCommunicator()
own, step, history, names = comm.rank, 0, [], list(range(comm.size))  # names: the survivors' original ranks


def leaves_of(step: int) -> np.ndarray:
    return np.random.default_rng(step).standard_normal((SHARDS, LENGTH)).astype(np.float32)


def recover() -> int:
    """Return the newest step of the survivors."""
    global names  # noqa: PLW0603
    while True:
        try:
            lost = comm.recover()
            names = [name for place, name in enumerate(names) if place not in lost]
            places = comm.allgather([own, step])
        except RanksLost:
            continue
        assert [name for name, _ in places] == names
        assert comm.is_root == (names[0] == own) and comm.size == len(names)
        steps = [place for _, place in places]
        assert max(steps) - min(steps) <= 1, steps
        return max(steps)


while step < STEPS:
    if own in deaths.get(step, []):
        os.kill(os.getpid(), signal.SIGKILL)
    mine = owned_shards(comm.rank, comm.size, SHARDS)
    leaves = leaves_of(step)
    try:
        total = comm.allreduce_leaves(leaves[mine.start : mine.stop].copy(), SHARDS)
    except RanksLost:
        step = recover()
        history.append(names)
        continue
    assert total.tobytes() == Serial().allreduce_leaves(leaves, SHARDS).tobytes(), step
    step += 1
if comm.is_root:
    print(json.dumps(history))
comm.leave(0)
