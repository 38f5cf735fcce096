"""A peer's process: ``python -m distlenet.bench.peers.child REQUEST``, one of them or several ranks under mpirun.

REQUEST is JSON: the module and the class of the peer, and its work. The process answers on stdout, a line of JSON at a
time: first the version, when the peer is built, then, for each line KIND COUNT of stdin, the seconds of so many calls.
"""

import importlib
import json
import os
import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any, TextIO

from distlenet.bench.peers.peer import Peer, Work
from distlenet.parallel import Communicator
from distlenet.parallel.agreement import on_root
from distlenet.parallel.connect import run_ranks

WARMUP = 3


def main() -> int:
    """Run as the process of a peer; return the exit code."""
    request = json.loads(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # libraries that print must not disturb the answers
    os.sched_setaffinity(0, request["cores"])  # before a library counts the cores
    return run_ranks(lambda comm: serve(comm, request, answers))


def serve(comm: Communicator, request: dict[str, Any], answers: TextIO) -> None:
    """Build the peer, then run it as often as stdin says, until its end. Rank 0 reads for all ranks."""
    cores = request["cores"]
    if comm.size > 1:
        os.sched_setaffinity(0, {cores[comm.rank % len(cores)]})
    work = Work(request["batch_size"], request["shards"], tuple(cores), comm)
    peer: Peer = getattr(importlib.import_module(request["module"]), request["peer"])(work)
    for kind in peer.kinds:
        run(peer.tasks[kind], WARMUP)
    peer.figures()

    def answer(facts: dict[str, Any]) -> None:
        on_root(comm, lambda: print(json.dumps(facts), file=answers, flush=True))

    answer({"version": peer.version})
    while line := comm.broadcast(sys.stdin.readline()):
        kind, count = line.split()
        answer({"seconds": run(peer.tasks[kind], int(count)), "figures": peer.figures()})


def run(task: Callable[[], object], count: int) -> list[float]:
    """Return the seconds of each of ``count`` calls, after one that brings data and code back into the caches."""
    task()
    seconds = []
    for _ in range(count):
        start = perf_counter()
        task()
        seconds.append(perf_counter() - start)
    return seconds


if __name__ == "__main__":
    sys.exit(main())
