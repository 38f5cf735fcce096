"""Ranks end with their launcher: a thread in each rank watches the mpirun and `distlenet launch` that started it.

Either may be killed at any time (SIGKILL, out of memory) and then cannot end its ranks. A rank that is training saves
first, if there is time.
"""

import os
import shutil
import signal
import threading
from collections.abc import Mapping

from distlenet.handshake import LAUNCH_ID
from distlenet.processes import is_alive

PERIOD = 0.25  # seconds between two checks
GRACE = 3.5  # seconds to save and end cleanly

_gone = threading.Event()
_watch: threading.Thread | None = None


def launcher_is_gone() -> bool:
    """Whether the launcher of this process was killed; this process then ends within GRACE seconds."""
    return _gone.is_set()


def end_with_launcher(environment: Mapping[str, str] = os.environ) -> None:
    """Start watching the processes that started this one."""
    global _watch  # noqa: PLW0603
    if _watch is None:
        _watch = threading.Thread(
            target=_look, args=(os.getppid(), environment.get(LAUNCH_ID)), name="orphan", daemon=True
        )
        _watch.start()


def _look(parent: int, launcher: str | None) -> None:
    pause = threading.Event()
    while os.getppid() == parent and (launcher is None or is_alive(launcher) is not False):
        pause.wait(PERIOD)
    _gone.set()
    folder = os.environ.get("PMIX_SERVER_TMPDIR", "")
    if os.getppid() != parent and os.path.basename(folder) == f"ompi.{parent}":
        shutil.rmtree(folder, ignore_errors=True)  # left by Open MPI's mpirun, which was killed
    pause.wait(GRACE)
    os._exit(128 + signal.SIGTERM)
