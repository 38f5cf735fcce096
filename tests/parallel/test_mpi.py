"""The communicator with each MPI, in jobs of several processes."""

import inspect
import sys

import mpi_jobs
import pytest

from distlenet.parallel import Communicator


def test_has_the_methods_of_the_protocol(openmpi):
    program = (
        "import inspect\n"
        "from distlenet.parallel.mpi import MPICommunicator as C\n"
        "print(*(f'{n}{list(inspect.signature(getattr(C, n)).parameters)}' for n in dir(C)"
        " if n[0] != '_' and callable(getattr(C, n))), sep='\\n')"
    )
    done = mpi_jobs.run(openmpi.command(1, "-c", program))
    own = set(done.stdout.splitlines())
    expected = {
        f"{name}{list(inspect.signature(value).parameters)}"
        for name, value in vars(Communicator).items()
        if inspect.isfunction(value) and name[0] != "_"
    }
    assert own == expected


def test_collectives_on_1_to_5_ranks(runtime):
    assert mpi_jobs.run(runtime.command(5, str(mpi_jobs.JOBS / "collectives.py"))).expect().stdout == "all is well\n"


@pytest.mark.parametrize(
    ("failure", "code", "message"),
    [
        ("ValueError", 1, "ValueError: a defect"),
        ("DistlenetError", 4, "distlenet: error: the disk is torn"),
        ("SystemExit", 3, None),
        ("SystemExit with text", 1, "this is the end"),
        ("KeyboardInterrupt", 1, "KeyboardInterrupt"),
    ],
)
def test_a_failing_rank_ends_the_job(runtime, failure, code, message, tmp_path):
    job = str(mpi_jobs.JOBS / "failing_rank.py")
    done = mpi_jobs.run(runtime.command(3, job, failure, str(tmp_path / "when")))
    assert done.returncode == code, done.output
    assert done.output.count("Traceback") == (failure in ("ValueError", "KeyboardInterrupt")), done.output
    lines = [line for line in done.output.splitlines() if line.startswith("[rank ")]
    if message is None:
        assert not lines
    else:
        assert lines[-1] == f"[rank 1/3] {message}"
        assert all(line.startswith("[rank 1/3] ") for line in lines)


def test_one_process_fails_without_mpi():
    # the same program in one process: its own exit code and a plain traceback, without rank numbers
    program = (
        "from distlenet.parallel.agreement import all_or_nothing\n"
        "from distlenet.parallel.connect import connect\n"
        "with all_or_nothing(connect()):\n    raise ValueError('a defect')"
    )
    done = mpi_jobs.run([sys.executable, "-c", program])
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("ValueError: a defect")
    assert "rank" not in done.stderr
