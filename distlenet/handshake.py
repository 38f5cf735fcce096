"""What `distlenet launch` and the ranks it starts tell each other: by environment variables, and by files.

The environment names the exit file, which nothing else is called like: it is the job's name as well. The other files
lie next to it.
"""

import contextlib
import os
from pathlib import Path

EXIT_FILE = "DISTLENET_EXIT_FILE"  # where the root leaves the exit code for the launcher
LAUNCHER = "DISTLENET_LAUNCHER"  # names what was launched, restarts included: the identity of the launcher, and more
FAULT_TOLERANCE = "DISTLENET_FAULT_TOLERANCE"  # "ulfm" where the job outlives its ranks
STALL_AFTER = "DISTLENET_STALL_AFTER"  # seconds, from `distlenet launch --stall-after`
LEFT = "left"  # file made by the other ranks, which know the exit code as well: the root may hang or die at its end
READY = "ready"  # file made when all ranks are connected
ABORTED = "aborted"  # file made by a rank that aborts the job
ASKED = "asked"  # file written by the launcher: the signal that asked it to end the job
ORDERLY = range(2, 8)  # exit codes of bad input: starting again would not help


def tell_launcher(code: int, left: bool = False) -> None:
    """Leave the exit code where `distlenet launch`, if it started the job, looks for it; mpirun's own says less.

    ``left``: in the file LEFT, which is read where the root left no code.
    """
    if EXIT_FILE in os.environ:
        path = Path(os.environ[EXIT_FILE])
        with contextlib.suppress(FileNotFoundError):  # on a host that does not see the launcher's directory
            (path.with_name(LEFT) if left else path).write_text(str(code), encoding="utf-8")


def tell_aborted() -> None:
    """Leave the file ABORTED for `distlenet launch`: mpirun itself may hang while it ends an aborted job."""
    if EXIT_FILE in os.environ:
        with contextlib.suppress(OSError):  # on a host that does not see the launcher's directory
            Path(os.environ[EXIT_FILE]).with_name(ABORTED).touch()


def asked_by_launcher() -> int | None:
    """Return the signal that asked `distlenet launch` to end this job, None if there was none.

    mpirun passes few signals on, so that all of them arrive here as the same one.
    """
    if EXIT_FILE in os.environ:
        with contextlib.suppress(OSError, ValueError):
            return int(Path(os.environ[EXIT_FILE]).with_name(ASKED).read_text(encoding="utf-8"))
    return None
