"""The messages of the heartbeats, independent of MPI, and which hosts can reach their sockets."""

import threading

import mpi_jobs
import pretend
import pytest

from distlenet.parallel import heartbeat
from distlenet.parallel.heartbeat import Heartbeats


def test_ranks_of_one_host_cannot_be_reached_from_others(runtime):
    done = mpi_jobs.run(runtime.command(2, str(mpi_jobs.JOBS / "sockets.py")))
    assert "reachable [[], []]" in done.stdout, done.output


def bound(comm):
    heartbeats = Heartbeats(comm)
    address = heartbeats._socket.getsockname()[0]
    heartbeats._socket.close()
    return address


def test_one_host_uses_the_loopback_alone():
    assert pretend.run(2, bound) == ["127.0.0.1"] * 2


def test_many_hosts_are_reached_by_any_of_their_addresses(monkeypatch):
    names = iter(range(10))
    monkeypatch.setattr(heartbeat, "network", lambda: f"host {next(names)}")
    assert pretend.run(2, bound) == ["0.0.0.0"] * 2


def job_of(ranks, stills, rounds=8):
    """Return each rank's figure for the job after every rank has reported how long it has been still."""
    barrier = threading.Barrier(ranks)

    def job(comm):
        heartbeats, heard, known = Heartbeats(comm), {}, 0.0
        for _ in range(rounds):
            known = heartbeats.stillness(stills[comm.rank], heard)
            heard = heartbeats.exchange({"still": stills[comm.rank], "job": known})
            barrier.wait()
        heartbeats.close()
        return known

    return pretend.run(ranks, job)


@pytest.mark.parametrize("mover", range(3))
def test_all_ranks_learn_of_one_that_makes_progress(mover):
    stills = [100.0] * 3
    stills[mover] = 0.0
    assert max(job_of(3, stills)) < 20


def test_all_are_still():
    assert min(job_of(3, [100.0, 120.0, 110.0])) >= 100
