"""The sum of a training step: the bits of one process on every number of ranks, on any hosts, also after losses."""

import mortal
import mpi_jobs
import numpy as np
import pretend
import pytest

from distlenet.errors import RanksLost
from distlenet.parallel import Serial, owned_shards

LENGTH = 257


def leaves_of(shards: int, length: int = LENGTH, step: int = 0) -> np.ndarray:
    """Return leaves (shards, length) of similar magnitude, so that nearly every addition rounds."""
    return np.random.default_rng([shards, step]).standard_normal((shards, length)).astype(np.float32)


def check_sum(comm, shards: int, length: int = LENGTH, step: int = 0) -> None:
    """Compare the sum of the ranks with that of one process."""
    leaves, run = leaves_of(shards, length, step), owned_shards(comm.rank, comm.size, shards)
    total = comm.allreduce_leaves(leaves[run.start : run.stop].copy(), shards)
    assert total.tobytes() == Serial().allreduce_leaves(leaves, shards).tobytes(), (comm.size, shards, length)


@pytest.mark.parametrize("size", [*range(1, 18), 32, 64])
def test_same_bits_on_every_number_of_ranks(size):
    def job(comm):
        for shards in sorted({size, size + 1, 2 * size + 3, 64} - set(range(size))):
            check_sum(comm, shards)
        check_sum(comm, size, length=5)  # shorter than the number of ranks
        assert comm.exchange_seconds > 0 or size == 1

    pretend.run(size, job)


@pytest.mark.parametrize(
    "hosts",
    ["aabb", "aaaaabcccccc", "abcabcabcab", "a" * 16 + "b" * 3 + "c" * 9, [str(rank // 4) for rank in range(64)]],
    ids=["2 x 2", "5, 1, 6", "dealt out", "16, 3, 9", "16 x 4"],
)
def test_same_bits_on_any_hosts(hosts):
    homes = [(host, rank) for rank, host in enumerate(hosts)]
    spread = type("Spread", (pretend.PretendCommunicator,), {"_find_homes": lambda self: homes})

    def job(comm):
        for shards in (comm.size, comm.size + 3, 64):
            check_sum(comm, shards)

    pretend.run(len(hosts), job, spread)


def test_other_leaves_and_lengths_in_turn():
    # of networks that are trained one after the other, or measured in turn
    leaves = [leaves_of(8, length) for length in (100, 100, 7)]

    def job(comm):
        own = owned_shards(comm.rank, comm.size, 8)
        mine = [each[own.start : own.stop].copy() for each in leaves]
        for place in (0, 1, 0, 2, 2, 1):
            mine[place][...] = leaves[place][own.start : own.stop]
            total = comm.allreduce_leaves(mine[place], 8)
            assert total.tobytes() == Serial().allreduce_leaves(leaves[place].copy(), 8).tobytes()

    pretend.run(3, job)


@pytest.mark.parametrize("hosts", ["a" * 10, "aaaaabbbcc"], ids=["one host", "three hosts"])
def test_survivors_add_up_again_whenever_a_rank_dies(hosts, soak):
    calls = [{}, {}, {}, {}]  # of each rank, before each step of an undisturbed job

    def work(comm):
        step = 0
        while step < len(calls):
            calls[step].setdefault(comm.name, comm._comm.job.calls[comm.name])
            try:
                check_sum(comm, 12, step=step)
                step += 1
            except RanksLost:
                step = recover(comm, step)
        return comm.size

    assert mortal.outcomes(mortal.Job(10, {}, hosts), work) == [10] * 10
    random = np.random.default_rng(3)
    with soak.fault(f"one or two of ten pretend ranks that die in a sum, on hosts {hosts}") as fault:
        for trial in range(soak.count(1000)):
            victims = random.permutation(10)[: 1 + trial % 2].tolist()
            # not in the first step: others may still be starting; not in the last: ranks that have ended count as lost
            deaths = {rank: int(random.integers(calls[1][rank], calls[3][rank]) + 1) for rank in victims}
            with fault.trial(deaths):
                found = mortal.outcomes(mortal.Job(10, deaths, hosts), work)
                survivors = [outcome for rank, outcome in enumerate(found) if rank not in deaths]
                assert survivors == [10 - len(deaths)] * len(survivors), found


def recover(comm, step: int) -> int:
    """Return the newest step of the survivors."""
    while True:
        try:
            comm.recover()
            reached = comm.allgather(step)
        except RanksLost:
            continue
        assert max(reached) - min(reached) <= 1
        return max(reached)


@pytest.mark.parametrize("size", [16, 32, 64])
def test_many_real_ranks(runtime, soak, size):
    if size > 16 and not soak.full:
        pytest.skip("only with --soak")
    job = str(mpi_jobs.JOBS / "sums.py")
    assert mpi_jobs.run(runtime.command(size, job), timeout=300).expect().stdout == "all is well\n"
