"""The sum of a training step on many ranks: on their own hosts, and as if they were on others.

``sums.py own``: many sums of one vector on their own hosts only, to count what they send.
"""

import sys

import numpy as np

from distlenet.parallel import Serial, owned_shards
from distlenet.parallel.agreement import all_or_nothing
from distlenet.parallel.mpi import MPICommunicator
from distlenet.parallel.mpi_exchange import Exchange

LENGTH = 61_714


def check(comm: MPICommunicator, shards: int, length: int, repeats: int = 2, hosts: tuple = ()) -> None:
    leaves = np.random.default_rng([shards, length]).standard_normal((shards, length)).astype(np.float32)
    expected = Serial().allreduce_leaves(leaves.copy(), shards).tobytes()
    own = owned_shards(comm.rank, comm.size, shards)
    mine = leaves[own.start : own.stop].copy()
    exchange = Exchange(comm._comm, hosts, shards, mine) if hosts else None
    for _ in range(repeats):
        mine[...] = leaves[own.start : own.stop]
        if exchange:
            exchange.add_local()
        total = exchange.run() if exchange else comm.allreduce_leaves(mine, shards)
        assert total.tobytes() == expected, (comm.size, shards, length, hosts)
    if exchange:
        exchange.free()


comm = MPICommunicator()
with all_or_nothing(comm):
    if sys.argv[1:] == ["own"]:
        check(comm, comm.size, LENGTH, repeats=50)
    else:
        fours, uneven = zip(*((rank // 4, rank**2 // 20) for rank in range(comm.size)), strict=True)
        for shards in (comm.size, comm.size + 3, 64):
            for hosts in ((), fours, uneven):
                check(comm, shards, 5, hosts=hosts)
                check(comm, shards, LENGTH, hosts=hosts)
    if comm.is_root:
        print("all is well")
