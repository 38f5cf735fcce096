"""Run by 5 ranks: every collective on groups of 1 to 5 of them, compared with the serial communicator."""

import numpy as np
from mpi4py import MPI

from distlenet.errors import ConfigError, DataError
from distlenet.parallel import Serial, owned_shards
from distlenet.parallel.agreement import all_or_nothing, in_agreement
from distlenet.parallel.mpi import MPICommunicator


def check_reduce(comm: MPICommunicator) -> None:
    for shards in (comm.size, comm.size + 1, 7, 8, 13):
        for length in (1, 3, 4, 1000, 61713):
            random = np.random.default_rng([shards, length])
            for _ in range(2):  # the second time with the buffers of the first
                leaves = random.standard_normal((shards, length)).astype(np.float32)
                expected = Serial().allreduce_leaves(leaves.copy(), shards)
                run = owned_shards(comm.rank, comm.size, shards)
                total = comm.allreduce_leaves(leaves[run.start : run.stop].copy(), shards)
                assert total.tobytes() == expected.tobytes(), (comm.size, shards, length)
    assert comm.exchange_seconds > 0


def check_the_rest(comm: MPICommunicator) -> None:
    values = np.zeros(10)
    values[comm.rank :: comm.size] = 0.1 * (1 + comm.rank)
    comm.allreduce(values)
    assert values.tolist() == [0.1 * (1 + place % comm.size) for place in range(10)]

    story = {"text": "grüße", "numbers": [1, 2.5, None, 1e-320], "long": "x" * 100_000}
    assert comm.broadcast(story if comm.is_root else None) == story
    assert comm.allgather(["é" * (7 * comm.rank), comm.rank]) == [["é" * (7 * r), r] for r in range(comm.size)]

    array = np.arange(1000, dtype=np.float32) * (1 if comm.is_root else -3)
    comm.broadcast_array(array)
    assert array.tobytes() == np.arange(1000, dtype=np.float32).tobytes()


def check_agreement(comm: MPICommunicator) -> None:
    with in_agreement(comm):
        pass
    failing = {rank for rank in (1, comm.size - 1) if rank < comm.size}
    kinds = [DataError, ConfigError]
    try:
        with all_or_nothing(comm), in_agreement(comm):
            if comm.rank in failing:
                raise kinds[comm.rank % 2](f"rank {comm.rank} says no")
    except (DataError, ConfigError) as error:
        first = min(failing)
        assert type(error) is kinds[first % 2]
        assert str(error).startswith(f"rank {first} says no")
        assert error.agreed
        assert error.reported == (not comm.is_root)  # only the root reports it
    else:
        raise AssertionError("nobody heard of the failure")


world = MPI.COMM_WORLD
with all_or_nothing(MPICommunicator()):
    for size in range(1, world.size + 1):
        group = world.Split(0 if world.rank < size else MPI.UNDEFINED)
        if group == MPI.COMM_NULL:
            continue
        comm = MPICommunicator(group)
        assert (comm.rank, comm.size, comm.is_root) == (world.rank, size, world.rank == 0)
        check_reduce(comm)
        check_the_rest(comm)
        check_agreement(comm)
    if world.rank == 0:
        print("all is well")
