"""Ranks end with their launcher: a thread of each rank watches the mpirun and the `distlenet launch` that started it.

Either may be killed at any time (SIGKILL, lack of memory) and can no longer end its ranks then. A rank that
trains saves first, if it can do so in time.
"""

import os
import shutil
import signal
import threading
from collections.abc import Mapping

from distlenet.handshake import LAUNCHER
from distlenet.processes import is_alive

PERIOD = 0.25  # seconds between two looks
GRACE = 3.5  # seconds to save and end in good order

_gone = threading.Event()
_watch: threading.Thread | None = None


def launcher_is_gone() -> bool:
    """Whether the launcher of this process was killed: the process ends by itself within GRACE seconds."""
    return _gone.is_set()


def end_with_launcher(environment: Mapping[str, str] = os.environ) -> None:
    """Watch the processes that started this one from now on."""
    global _watch  # noqa: PLW0603
    if _watch is None:
        _watch = threading.Thread(
            target=_look, args=(os.getppid(), environment.get(LAUNCHER)), name="orphan", daemon=True
        )
        _watch.start()


def _look(parent: int, launcher: str | None) -> None:
    pause = threading.Event()
    while os.getppid() == parent and (launcher is None or is_alive(launcher) is not False):
        pause.wait(PERIOD)
    _gone.set()
    folder = os.environ.get("PMIX_SERVER_TMPDIR", "")
    if os.getppid() != parent and os.path.basename(folder) == f"ompi.{parent}":
        shutil.rmtree(folder, ignore_errors=True)  # of Open MPI's mpirun, which was killed and cannot
    pause.wait(GRACE)
    os._exit(128 + signal.SIGTERM)
