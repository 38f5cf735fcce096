"""One rank of a timed run: ``python -m distlenet.bench.worker STEPS BATCH SHARDS``; the root prints JSON."""

import json
import os
import sys
from statistics import median
from time import perf_counter


def main() -> None:
    """Time ``STEPS`` steps without augmentation after a warm-up; works alone and under mpirun."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    import numpy as np

    from distlenet.bench.exchange import GRADIENT
    from distlenet.bench.workload import steps
    from distlenet.config import Config
    from distlenet.parallel import owned_shards
    from distlenet.parallel.agreement import all_or_nothing
    from distlenet.parallel.connect import connect
    from distlenet.training.summary import reduce_share

    count, batch_size, shards = map(int, sys.argv[1:4])
    config = Config(batch_size=batch_size, shards=shards, rotate=0.0, shift=0.0, zoom=0.0)
    comm = connect()
    with all_or_nothing(comm):
        add_up = comm.allreduce
        if comm.size > 1:
            from distlenet.parallel.mpi import allreduce_by_mpi as add_up
        running = steps(comm, config)
        for _ in range(10):
            next(running)
        timed = [next(running) for _ in range(count)]
        # side by side, without the ranks' waiting for one another: the exchange, and MPI's own sum of a vector
        # that is added up within each rank already
        leaves = np.zeros((len(owned_shards(comm.rank, comm.size, shards)), GRADIENT), np.float32)
        vector, exchanges, sums = leaves[0].copy(), [], []
        for _ in range(count):
            before = comm.exchange_seconds
            comm.allreduce_leaves(leaves, shards)
            exchanges.append(comm.exchange_seconds - before)
            begun = perf_counter()
            add_up(vector)
            sums.append(perf_counter() - begun)
        share = reduce_share([(event.seconds, event.exchange_seconds) for event in timed], comm)
        if comm.is_root:
            seconds = [event.seconds for event in timed]
            report = {
                "images_per_second": batch_size / median(seconds),
                "reduce_share": share,
                "exchange_microseconds": 1e6 * median(exchanges),
                "allreduce_microseconds": 1e6 * median(sums),
            }
            # on a busy machine the median is the neighbours' doing: the cost model looks at the fastest step
            print(json.dumps(report | {"fastest_step": min(seconds)}), flush=True)


if __name__ == "__main__":
    main()
