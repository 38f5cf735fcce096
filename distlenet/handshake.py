"""How a job and `distlenet launch`, if that started it, tell each other of its end: by files in a folder of the job's.

The environment names the folder by its exit file.
"""

import contextlib
import os
from pathlib import Path

EXIT_FILE = "DISTLENET_EXIT_FILE"  # where the root leaves the exit code for the launcher
LEFT = "left"  # made beside it by the other ranks, which know the code as well: the root may hang or die at its end
READY = "ready"  # made beside the exit file when all ranks are connected
ASKED = "asked"  # written beside it by the launcher: the signal that asked it to end the job
ORDERLY = range(2, 8)  # exit codes of bad input: starting again would not help


def tell_launcher(code: int, is_root: bool = True) -> None:
    """Leave the exit code where `distlenet launch`, if it started the job, looks for it; mpirun's own says less."""
    if EXIT_FILE in os.environ:
        path = Path(os.environ[EXIT_FILE])
        with contextlib.suppress(FileNotFoundError):  # on a host that does not see the launcher's directory
            (path if is_root else path.with_name(LEFT)).write_text(str(code), encoding="utf-8")


def asked_by_launcher() -> int | None:
    """Return the signal that asked `distlenet launch` to end this job, None if there was none.

    mpirun passes few signals on, so that all of them arrive here as the same one.
    """
    if EXIT_FILE in os.environ:
        with contextlib.suppress(OSError, ValueError):
            return int(Path(os.environ[EXIT_FILE]).with_name(ASKED).read_text(encoding="utf-8"))
    return None
