"""The door of a job, by which ``distlenet resize`` changes its number of ranks: who may, and who is refused why."""

import json
import os
import socket

import pytest

import distlenet.launching.door as launching_door
from distlenet.errors import LaunchError
from distlenet.handshake import RANKS, SECRET
from distlenet.launching import mpirun
from distlenet.launching.door import NAME, Door, ask, why_fixed


def test_the_door_opens_only_with_the_secret(tmp_path):
    door = Door(tmp_path, 2, None)
    try:
        assert os.stat(tmp_path / NAME).st_mode & 0o777 == os.stat(tmp_path / SECRET).st_mode & 0o777 == 0o600
        ask(tmp_path, 3)
        assert (tmp_path / RANKS).read_text() == "3 1"
        with pytest.raises(LaunchError, match="expected a number of ranks of at least 1, got 0"):
            ask(tmp_path, 0)
        secret = (tmp_path / SECRET).read_text()
        for wrong in ("", "0" * 64, secret[:-1]):
            (tmp_path / SECRET).write_text(wrong)
            with pytest.raises(LaunchError, match="does not show the job's secret"):
                ask(tmp_path, 4)
        with socket.socket(socket.AF_UNIX) as guest:
            guest.connect(str(tmp_path / NAME))
            guest.sendall(b"{")
            assert json.loads(guest.recv(1000)) == "the request is damaged"
        assert (tmp_path / RANKS).read_text() == "3 1"
    finally:
        door.close()
    with pytest.raises(LaunchError, match="cannot reach the launcher"):
        ask(tmp_path, 3)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"command": "repeat"}, "only the ranks of train can change"),
        ({"starter": ("srun", "--mpi=pmix")}, "srun starts no further ranks"),
        ({"tolerant": False}, "it was started with --no-fault-tolerance: stop it, and resume it without"),
        ({"returns": False}, "it was started with --no-return: stop it, and resume it without"),
        ({"ranks": 1}, "it was started with one rank: stop it, and resume it on two or more"),
        ({}, "MPICH cannot change the number of ranks of a running job; Open MPI 5 can"),
    ],
    ids=["repeat", "srun", "no tolerance", "no return", "one rank", "MPICH"],
)
def test_where_ranks_cannot_change_a_sentence_says_so(monkeypatch, tmp_path, options, reason):
    mpi = mpirun.Mpirun("mpirun", *(("Open MPI", "5.0.11") if options else ("MPICH", "5.0.2")))
    monkeypatch.setattr(launching_door, "which_mpi", lambda: mpi)
    usual = {"command": "train", "ranks": 2, "starter": (), "tolerant": True, "returns": True}
    door = Door(tmp_path, 2, why_fixed(**(usual | options)))
    with pytest.raises(LaunchError, match=f"the launcher of this run refuses: {reason}"):
        ask(tmp_path, 3)
    door.close()
