"""How `distlenet launch` and its ranks communicate: environment variables and files.

The environment names the exit file. Its path is unique and also identifies the job. The other files are next to it.
"""

import contextlib
import os
from pathlib import Path

EXIT_FILE = "DISTLENET_EXIT_FILE"  # where the root leaves the exit code for the launcher
LAUNCH_ID = "DISTLENET_LAUNCH_ID"  # the same after a restart: starts with the launcher's identity
FAULT_TOLERANCE = "DISTLENET_FAULT_TOLERANCE"  # "ulfm" if the job survives the loss of ranks
STALL_AFTER = "DISTLENET_STALL_AFTER"  # seconds, from `distlenet launch --stall-after`
JOINS = "DISTLENET_JOINS"  # in a process that joins the running job: the identity of the rank that started it
LEFT = "left"  # the exit code as written by the other ranks, in case the root hangs or dies at its end
READY = "ready"  # exists once all ranks are connected
ABORTED = "aborted"  # made by a rank that aborts the job
ASKED = "asked"  # written by the launcher: the signal that asked it to end the job
RANKS = "ranks"  # the ranks that the job should have, and the number of the request; exists if new ones may join
SECRET = "secret"  # known only to the job: a new rank shows it to prove that it belongs
STUCK = "stuck"  # made by ranks that hang in MPI while another one joins: the launcher starts the job again
ORDERLY = range(2, 8)  # exit codes of bad input: a restart would not help


def tell_launcher(code: int, left: bool = False) -> None:
    """Write the exit code to the file that `distlenet launch`, if it started the job, reads.

    mpirun's own exit code says less. With ``left``, write to the file LEFT, which is read if the root wrote no code.
    """
    if EXIT_FILE in os.environ:
        path = Path(os.environ[EXIT_FILE])
        with contextlib.suppress(FileNotFoundError):  # a host that does not share the launcher's directory
            (path.with_name(LEFT) if left else path).write_text(str(code), encoding="utf-8")


def tell_aborted() -> None:
    """Write the file ABORTED for `distlenet launch`: mpirun may hang while it ends an aborted job."""
    if EXIT_FILE in os.environ:
        with contextlib.suppress(OSError):  # a host that does not share the launcher's directory
            Path(os.environ[EXIT_FILE]).with_name(ABORTED).touch()


def handshake_file(name: str) -> Path | None:
    """Return the path of another file of the handshake; None if `distlenet launch` did not start this process."""
    return Path(os.environ[EXIT_FILE]).with_name(name) if EXIT_FILE in os.environ else None


def job_folder() -> Path | None:
    """Return the private folder of the job; None if `distlenet launch` did not start this process."""
    path = handshake_file(RANKS)
    return path.parent.absolute() if path else None


def wanted_ranks() -> tuple[int, int] | None:
    """Return the number of ranks that this job should have, None if that cannot be changed.

    The second number is another one after each request of the user.
    """
    path = handshake_file(RANKS)
    with contextlib.suppress(OSError, ValueError):
        if path:
            ranks, request = map(int, path.read_text(encoding="utf-8").split())
            return ranks, request
    return None


def secret() -> str:
    """Return the job's secret, "" without one."""
    path = handshake_file(SECRET)
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8") if path else ""
    return ""


def has_ended() -> bool:
    """Whether a rank of this job has left an exit code."""
    paths = (handshake_file(os.path.basename(os.environ.get(EXIT_FILE, ""))), handshake_file(LEFT))
    return any(path is not None and path.exists() for path in paths)


def asked_by_launcher() -> int | None:
    """Return the signal that asked `distlenet launch` to end this job, or None.

    mpirun forwards few signals, so all of them arrive here as the same one.
    """
    if EXIT_FILE in os.environ:
        with contextlib.suppress(OSError, ValueError):
            return int(Path(os.environ[EXIT_FILE]).with_name(ASKED).read_text(encoding="utf-8"))
    return None
