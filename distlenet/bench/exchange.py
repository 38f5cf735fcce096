"""One rank of a timed exchange: ``mpirun -n P python -m distlenet.bench.exchange [REPEATS]``; the root prints JSON.

Times the exchange of a training step (``parallel/mpi.py``) alone, for vectors of several lengths and for
several tree nodes a rank: what the cost model is fitted to.
"""

import json
import os
import sys
from statistics import median

import numpy as np

from distlenet.parallel import Communicator, owned_shards
from distlenet.parallel.agreement import on_root
from distlenet.parallel.connect import run_ranks

GRADIENT = 61_712  # floats, about the size of LeNet-5 with the bus's tail
LENGTHS = (64, 4_096, 16_384, GRADIENT)
UNEVEN = ((64, 7), (64, 31), (16_384, 7))  # (length, shards per rank): leaves 3 or 5 tree nodes
REPEATS = 200
BATCHES, WARMUP = 5, 5  # the repeats of a case are divided into batches that take turns


def work(comm: Communicator, repeats: int) -> None:
    """Time every case; print the median seconds of one exchange."""
    cases = [(length, comm.size) for length in LENGTHS] + [(length, comm.size * each) for length, each in UNEVEN]
    seconds: dict[tuple[int, int], list[float]] = {case: [] for case in cases}
    for _ in range(BATCHES):
        for length, shards in cases:
            leaves = np.zeros((len(owned_shards(comm.rank, comm.size, shards)), length), np.float32)
            for turn in range(WARMUP + repeats // BATCHES):
                before = comm.exchange_seconds
                comm.allreduce_leaves(leaves, shards)
                if turn >= WARMUP:
                    seconds[length, shards].append(comm.exchange_seconds - before)
    hosts = len(set(comm.allgather(os.uname().nodename)))
    report = {"ranks": comm.size, "hosts": hosts, "rows": [[*case, median(values)] for case, values in seconds.items()]}
    on_root(comm, lambda: print(json.dumps(report), flush=True))


if __name__ == "__main__":
    sys.exit(run_ranks(lambda comm: work(comm, int(sys.argv[1]) if len(sys.argv) > 1 else REPEATS)))
