"""One rank of a timed run: ``python -m distlenet.bench.worker STEPS BATCH SHARDS``; the root prints JSON.

Works alone and under mpirun.
"""

import json
import sys
from statistics import median
from time import perf_counter

import numpy as np

from distlenet.bench.exchange import GRADIENT
from distlenet.bench.workload import steps
from distlenet.config import Config
from distlenet.parallel import Communicator, owned_shards
from distlenet.parallel.agreement import on_root
from distlenet.parallel.connect import run_ranks
from distlenet.runs.summary import reduce_share

WARMUP = 10


def work(comm: Communicator, count: int, batch_size: int, shards: int) -> None:
    """Time ``count`` steps without augmentation after a warm-up."""
    running = steps(comm, Config(batch_size=batch_size, shards=shards, rotate=0.0, shift=0.0, zoom=0.0))
    timed = [next(running) for _ in range(WARMUP + count)][WARMUP:]
    add_up = comm.allreduce
    if comm.size > 1:
        from distlenet.parallel.mpi import allreduce_by_mpi as add_up
    # in turn, without waiting for other ranks: the exchange, and MPI's own sum of a vector that each rank has already
    # added up
    leaves = np.zeros((len(owned_shards(comm.rank, comm.size, shards)), GRADIENT), np.float32)
    vector, exchanges, sums = leaves[0].copy(), [], []
    for _ in range(count):
        before = comm.exchange_seconds
        comm.allreduce_leaves(leaves, shards)
        exchanges.append(comm.exchange_seconds - before)
        start = perf_counter()
        add_up(vector)
        sums.append(perf_counter() - start)
    seconds = [event.seconds for event in timed]
    report = {
        "images_per_second": batch_size / median(seconds),
        "reduce_share": reduce_share([(event.seconds, event.exchange_seconds) for event in timed], comm),
        "exchange_microseconds": 1e6 * median(exchanges),
        "allreduce_microseconds": 1e6 * median(sums),
        # on a busy machine other programs determine the median, so the cost model uses the fastest step
        "fastest_step": min(seconds),
    }
    on_root(comm, lambda: print(json.dumps(report), flush=True))


if __name__ == "__main__":
    sys.exit(run_ranks(lambda comm: work(comm, *map(int, sys.argv[1:4]))))
