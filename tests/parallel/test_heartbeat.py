"""What ranks tell each other next to MPI, and who can reach them."""

import mpi_jobs
import pretend

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
