"""Surviving lost ranks: the MPI communicator for jobs started with fault tolerance (ULFM, Open MPI).

MPI's user-level failure mitigation reports a dead rank as an error of the call that needed it, on some
ranks; the others hear of it when the communicator is revoked. The survivors then shrink the communicator
to themselves and go on. What that means for the training is ``training/lost_ranks.py``.
"""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any

import mpi4py
import numpy as np

mpi4py.rc.finalize = False  # MPI_Finalize may wait for the dead

from mpi4py import MPI  # noqa: E402

from distlenet.errors import RanksLost  # noqa: E402
from distlenet.handshake import EXIT_FILE, tell_aborted, tell_launcher  # noqa: E402
from distlenet.parallel.mpi import TAG, MPICommunicator  # noqa: E402
from distlenet.parallel.orphan import launcher_is_gone  # noqa: E402

BEAT = 0.2  # seconds
LOW_PRIORITY = 8  # Open MPI looks after its detector in one call of so many
# ERR_IN_STATUS: one of several messages failed, and with a sound program only a lost rank makes them
LOST = (MPI.ERR_PROC_FAILED, MPI.ERR_PROC_FAILED_PENDING, MPI.ERR_REVOKED, MPI.ERR_IN_STATUS)


def _reported(method: Callable) -> Callable:
    """Turn MPI's error codes for lost ranks into RanksLost; other errors of MPI stay as they are."""

    @wraps(method)
    def guarded(self: "RecoverableCommunicator", *args: Any) -> Any:
        try:
            return method(self, *args)
        except MPI.Exception as error:
            if error.Get_error_class() not in LOST:
                raise
            raise RanksLost("a rank was lost") from error
        except json.JSONDecodeError as error:  # a message that others have given up
            raise RanksLost("a message was lost") from error

    return guarded


class RecoverableCommunicator(MPICommunicator):
    """Like MPICommunicator, but its methods raise RanksLost, after which ``recover`` may be called."""

    survives_losses = True

    def __init__(self) -> None:
        self._keep_alive()
        try:
            world = MPI.COMM_WORLD.Dup()
            world.Set_errhandler(MPI.ERRORS_RETURN)
            super().__init__(world)
            self._say_ready()
            self._homes = self._find_homes()
        except (MPI.Exception, RanksLost):  # a rank lost so early: the launcher starts the job again
            tell_aborted()
            MPI.COMM_WORLD.Abort(RanksLost.exit_code)

    def _keep_alive(self) -> None:
        """Start a thread that lets MPI work now and then, so that it tells the other ranks that a busy one lives.

        MPI's detector of failures can have a thread of its own for that, but then one start in eight crashes.
        """
        alone, pause = MPI.COMM_SELF.Dup(), threading.Event()

        def beat() -> None:
            # Open MPI ends a rank whose mpirun was killed when that rank next calls MPI: the save comes first
            while not pause.wait(BEAT) and not launcher_is_gone():
                with suppress(MPI.Exception):
                    for _ in range(LOW_PRIORITY):
                        alone.Iprobe()

        threading.Thread(target=beat, name="heartbeat", daemon=True).start()

    def _find_homes(self) -> list[tuple[str, int]]:
        """Return where each rank lives, to tell a dead process from one that is only out of reach."""
        return [tuple(home) for home in self.allgather([os.uname().nodename, os.getpid()])]

    allreduce_leaves = _reported(MPICommunicator.allreduce_leaves)
    allreduce = _reported(MPICommunicator.allreduce)
    broadcast = _reported(MPICommunicator.broadcast)
    broadcast_array = _reported(MPICommunicator.broadcast_array)
    allgather = _reported(MPICommunicator.allgather)

    def _send(self, array: np.ndarray, peer: int) -> MPI.Prequest:
        """Make a synchronous message: it ends when it has arrived, so that a lost receiver is noticed."""
        return self._comm.Ssend_init(array, peer, TAG)  # type: ignore[return-value]  # mpi4py declares a plain Request

    def recover(self) -> list[int]:
        """Go on among the survivors, called by all of them; returns the lost ranks, as they were numbered.

        Raises RanksLost when this side may not go on: it cannot tell whether a larger one does so too.
        """
        before = self._homes
        self._retired.append(self._exchanges)  # messages under way may still arrive in their buffers
        self._exchanges = {}
        self._comm.Revoke()
        self._comm = self._comm.Shrink()
        self._comm.Set_errhandler(MPI.ERRORS_RETURN)
        self.rank, self.size = self._comm.rank, self._comm.size
        self.is_root = self.rank == 0
        self._homes = self._find_homes()
        lost = [rank for rank, home in enumerate(before) if home not in self._homes]
        self._end_lost_neighbours(before, lost)
        hosts = {host for host, _ in self._homes}
        unknown = sum(before[rank][0] not in hosts for rank in lost)  # dead with their host, or cut off
        known = len(before) - unknown
        if known < unknown or (known == unknown and 0 in lost):
            raise RanksLost(
                f"{unknown} of {len(before)} ranks are out of reach, and they may be going on without this side: "
                "it ends here; go on from the last checkpoint by --resume auto once they are known to have ended"
            ).of_every_rank()
        return lost

    def _end_lost_neighbours(self, before: list[tuple[str, int]], lost: list[int]) -> None:
        """Kill lost ranks of this host that are not dead but hung: they must not wake up and write."""
        here = os.uname().nodename
        for rank in lost:
            host, process = before[rank]
            if host == here:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(process, signal.SIGKILL)

    def _free(self) -> None:
        """Nothing: requests that were interrupted stay as they are, and there is no MPI_Finalize."""

    def leave(self, code: int) -> int:
        """End this process without MPI's own farewell, which may wait for the dead.

        The process itself ends with 0, since any other code makes mpirun end the others or leaves them
        hanging; the launcher finds the real one in the file that it named.
        """
        sys.stdout.flush()
        sys.stderr.flush()
        if code != RanksLost.exit_code:  # others may be going on without this side
            tell_launcher(code, left=not self.is_root)
        os._exit(0 if EXIT_FILE in os.environ else code)
