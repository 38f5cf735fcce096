"""One rank of a timed run: ``python -m distlenet.bench.worker STEPS BATCH SHARDS``; the root prints JSON.

Works alone and under mpirun.
"""

import json
import sys
from statistics import median

from distlenet.bench.peers.child import run
from distlenet.bench.peers.ours import Ranks
from distlenet.bench.peers.peer import Work
from distlenet.parallel import Communicator
from distlenet.parallel.agreement import on_root
from distlenet.parallel.connect import run_ranks

WARMUP = 10


def work(comm: Communicator, count: int, batch_size: int, shards: int) -> None:
    """Time ``count`` steps without augmentation after a warm-up, then as many exchanges."""
    peer = Ranks(Work(batch_size, shards, (), comm))
    run(peer.tasks["ranks"], WARMUP)
    peer.figures()
    seconds = {kind: run(peer.tasks[kind], count) for kind in peer.kinds}
    report = {
        "images_per_second": batch_size / median(seconds["ranks"]),
        **peer.figures(),
        "allreduce_microseconds": 1e6 * median(seconds["allreduce"]),
        # on a busy machine other programs determine the median, so the cost model uses the fastest step
        "fastest_step": min(seconds["ranks"]),
    }
    on_root(comm, lambda: print(json.dumps(report), flush=True))


if __name__ == "__main__":
    sys.exit(run_ranks(lambda comm: work(comm, *map(int, sys.argv[1:4]))))
