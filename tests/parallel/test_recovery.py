"""A real job loses some of its ranks; the survivors' next sum is right."""

import json
import sys

import mpi_jobs
import pytest

from distlenet.handshake import EXIT_FILE, READY
from distlenet.launching.mpirun import mpirun_command


@pytest.mark.parametrize(
    ("ranks", "deaths", "survivors"),
    [
        (4, [[3, [2]]], [0, 1, 3]),
        (4, [[3, [0]]], [1, 2, 3]),
        (4, [[3, [1, 3]]], [0, 2]),
        (4, [[0, [3]], [4, [1]]], [0, 2]),
        (4, [[2, [0]], [4, [1]], [6, [3]]], [2]),
        (4, [[5, [0, 1, 2]]], [3]),
        (10, [[3, [8]], [6, [0, 5]]], [1, 2, 3, 4, 6, 7, 9]),
    ],
    ids=["one", "the root", "two at once", "in sequence", "one by one to the last", "all but one at once", "of ten"],
)
def test_the_survivors_continue(survivors_continue, ranks, deaths, survivors, tmp_path):
    job, code = mpi_jobs.JOBS / "recovery.py", tmp_path / "code"
    command = [*mpirun_command(ranks, fault_tolerance=True), sys.executable, str(job), json.dumps(deaths)]
    env = mpi_jobs.environment(**{EXIT_FILE: str(code)})
    done = mpi_jobs.run(command, env=env)
    assert (tmp_path / READY).exists(), done.output
    assert "Traceback" not in done.output, done.output
    assert code.exists() and code.read_text() == "0", done.output
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[[")]
    assert len(told) == 1, done.output
    assert told[0][-1] == survivors


@pytest.mark.parametrize("kind", ["leaves", "values"])
def test_a_rank_known_to_be_dead_is_missed(survivors_continue, kind):
    # Open MPI's Waitall without statuses reports no error then: the sum would hold old values
    command = [*mpirun_command(2, fault_tolerance=True), sys.executable, str(mpi_jobs.JOBS / "known_dead.py"), kind]
    done = mpi_jobs.run(command)
    assert done.stdout.strip() == "rank 1 is missed", done.output


def test_a_busy_rank_is_not_taken_for_lost(survivors_continue, soak):
    limit, seconds = (60.0, 90.0) if soak.full else (2.0, 6.0)
    command = [*mpirun_command(3, fault_tolerance=True, stall_after=limit), sys.executable]
    done = mpi_jobs.run([*command, str(mpi_jobs.JOBS / "busy.py"), str(seconds)], timeout=seconds + 60)
    assert "sum 3.0" in done.stdout, done.output
    assert done.seconds > seconds


def test_starts_do_not_crash(survivors_continue, soak):
    with soak.fault("starts of four ranks") as fault:
        for number in range(200 if soak.full else 2):
            with fault.trial(f"start {number}"):
                command = [*mpirun_command(4, fault_tolerance=True), sys.executable]
                done = mpi_jobs.run([*command, str(mpi_jobs.JOBS / "busy.py"), "0"])
                assert "sum 4.0" in done.stdout, done.output
                assert "Process received signal" not in done.output, done.output
