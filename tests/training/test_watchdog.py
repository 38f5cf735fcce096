"""A rank that hangs is noticed by the others, said, and answered."""

import json
import re
import sys

import launches
import mpi_jobs
import pytest
from faults import runs

from distlenet.errors import RanksLost
from distlenet.mpirun import mpirun_command
from distlenet.parallel.exit_file import EXIT_FILE
from distlenet.parallel.heartbeat import own_addresses
from distlenet.parallel.launcher import FAULT_TOLERANCE
from distlenet.training.watchdog import look, names

STALL_AFTER = 1.5
STEP = 15  # in the second epoch
WORDS = ["--epochs", 3, "--stall-after", STALL_AFTER]


def arguments(digits, run, rank, what):
    job = str(mpi_jobs.JOBS / "signalled.py")
    return [job, str(rank), what, str(STEP), *runs.train(digits, run, *WORDS)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, digits):
    run = tmp_path_factory.mktemp("whole") / "run"
    assert runs.do(runs.train(digits, run, *WORDS)).returncode == 0
    return run


@pytest.mark.parametrize(
    ("rank", "what", "said"),
    [
        (2, "SIGSTOP", r"\[rank 0/3\] distlenet: error: nothing is heard of rank 2: the job ends; go on from"),
        (0, "SIGSTOP", r"\[rank [12]/3\] distlenet: error: nothing is heard of rank 0: the job ends; go on from"),
        (1, "HANG", r"distlenet: error: (this rank hangs, in take_step|rank 1 hangs): the job ends; go on from"),
    ],
)
def test_the_job_ends_with_a_good_checkpoint(runtime, digits, tmp_path, whole, rank, what, said):
    run = tmp_path / "run"
    done = mpi_jobs.run(runtime.command(3, *arguments(digits, run, rank, what)))
    assert done.returncode == RanksLost.exit_code, done.output
    assert re.search(said, done.output), done.output
    for other in {0, 1, 2} - {rank}:
        place = r"epoch 2, step \d+, exchanging gradients, waiting for the others"
        assert re.search(rf"\[rank {other}/3\] no progress for [\d.]+ s in {place}", done.output), done.output
    assert runs.do([*runs.train(digits, run, *WORDS), "--resume", "auto"]).returncode == 0
    assert runs.results(run) == runs.results(whole)


def test_a_hanging_rank_ends_itself_where_the_others_can_go_on(digits, tmp_path, whole):
    launches.needs_fault_tolerance()
    run, code = tmp_path / "run", tmp_path / "code"
    command = mpirun_command(3, fault_tolerance=True, stall_after=STALL_AFTER)
    env = mpi_jobs.environment(**{EXIT_FILE: str(code), FAULT_TOLERANCE: "ulfm"})
    for _ in range(3):  # Open MPI's start with fault tolerance fails now and then on a busy machine
        done = mpi_jobs.run([*command, sys.executable, *arguments(digits, run, 1, "HANG")], env=env)
        if run.exists():
            break
    assert code.exists() and code.read_text() == "0", done.output
    assert "[rank 1/3] this rank hangs: it ends itself, and the others go on without it" in done.output
    assert runs.results(run) == runs.results(whole)


def test_look():
    place = look(sys._getframe())
    assert not place.waits
    assert place.trace != look(sys._getframe()).trace


def test_words():
    assert names([3]) == "rank 3" and names([1, 3]) == "ranks 1, 3"
    assert "127.0.0.1" in own_addresses()
    assert json.loads(json.dumps(own_addresses())) == own_addresses()
