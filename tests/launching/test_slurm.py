"""The command that starts ranks in an allocation of Slurm, from its variables."""

import pytest

from distlenet.launching import slurm
from distlenet.launching.mpirun import Mpirun
from distlenet.launching.slurm import find_allocation

ENVIRONMENT = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "8", "SLURM_JOB_NUM_NODES": "2"}


@pytest.fixture
def mpirun(monkeypatch):
    """``mpirun(name)``: the MPI on this machine."""
    return lambda name: monkeypatch.setattr(slurm, "which_mpi", lambda: Mpirun("/mpi/mpirun", name, "5.0.1"))


def test_outside_of_an_allocation_there_is_nothing():
    assert find_allocation({"SLURM_NTASKS": "8"}) is None


def test_the_words_of_the_user_come_first():
    found = find_allocation(ENVIRONMENT | {"DISTLENET_LAUNCHER": "srun --mpi=pmix"})
    assert found.tasks == 8
    assert found.starter(8) == ("srun", "--mpi=pmix")
    assert found.starter(9) == ("srun", "--mpi=pmix", "--overcommit")
    assert found.variables == {"SLURM_KILL_BAD_EXIT": "1"}


def test_else_mpirun_asks_slurm_for_the_hosts(mpirun):
    mpirun("Open MPI")
    found = find_allocation(ENVIRONMENT)
    assert found.starter(2) == ("/mpi/mpirun",) and not found.variables
    assert found.starter(9)[-2:] == ("--map-by", ":OVERSUBSCRIBE")
    assert find_allocation({"SLURM_JOB_ID": "7"}).tasks == 1


def test_on_one_node_open_mpi_does_not_use_slurm(mpirun):
    """It would end at a TERM without informing its ranks."""
    mpirun("Open MPI")
    assert find_allocation(ENVIRONMENT | {"SLURM_JOB_NUM_NODES": "1"}).variables == {"PRTE_MCA_plm": "ssh"}
    mpirun("MPICH")
    assert not find_allocation(ENVIRONMENT | {"SLURM_JOB_NUM_NODES": "1"}).variables
