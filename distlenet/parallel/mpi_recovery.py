"""The MPI communicator that survives lost ranks, for jobs started with fault tolerance (ULFM, Open MPI).

MPI's user-level failure mitigation reports a dead rank as an error of the call that needed it, on some ranks; the
others notice when the communicator is revoked. The survivors then shrink the communicator to themselves and continue.
``training/lost_ranks.py`` handles the consequences for training.
"""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import NoReturn, ParamSpec, TypeVar, cast

import mpi4py
import numpy as np

mpi4py.rc.finalize = False  # MPI_Finalize may wait for the dead

from mpi4py import MPI  # noqa: E402

from distlenet.errors import RanksLost  # noqa: E402
from distlenet.handshake import EXIT_FILE, tell_aborted, tell_launcher  # noqa: E402
from distlenet.parallel.mpi import TAG, MPICommunicator  # noqa: E402
from distlenet.parallel.mpi_return import Recruit, RunningJob, leave, merge  # noqa: E402
from distlenet.parallel.orphan import launcher_is_gone  # noqa: E402

P = ParamSpec("P")
R = TypeVar("R")
BEAT = 0.2  # seconds
LOW_PRIORITY = 8  # Open MPI runs its failure detector in one of this many calls
# ERR_IN_STATUS: one of several messages failed; in a correct program only a lost rank causes that
LOST = (MPI.ERR_PROC_FAILED, MPI.ERR_PROC_FAILED_PENDING, MPI.ERR_REVOKED, MPI.ERR_IN_STATUS)


def _reported(method: Callable[P, R]) -> Callable[P, R]:
    """Turn MPI's error codes for lost ranks into RanksLost; leave its other errors unchanged."""

    @wraps(method)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(*args, **kwargs)
        except MPI.Exception as error:
            if error.Get_error_class() not in LOST:
                raise
            raise RanksLost("a rank was lost") from error
        except json.JSONDecodeError as error:  # a message that its sender abandoned
            raise RanksLost("a message was lost") from error

    return guarded


class RecoverableCommunicator(MPICommunicator):
    """Like MPICommunicator, but its methods raise RanksLost, after which ``recover`` may be called."""

    survives_losses = True

    def __init__(self, parent: RunningJob | None = None) -> None:
        self._keep_alive()
        self.parent, self._leaving = parent, range(0)
        self._running = parent
        try:
            world = MPI.COMM_WORLD.Dup()
            world.Set_errhandler(MPI.ERRORS_RETURN)
            super().__init__(world)
            if parent:
                self.is_root = False
            else:
                self._say_ready()
        except (MPI.Exception, RanksLost):  # a rank was lost during start-up: the launcher restarts the job
            tell_aborted()
            MPI.COMM_WORLD.Abort(RanksLost.exit_code)

    def _keep_alive(self) -> None:
        """Start a thread that calls MPI regularly, so that the other ranks see that a busy rank is alive.

        MPI's failure detector could use a separate thread instead, but then one start in eight crashes.
        """
        alone, pause = MPI.COMM_SELF.Dup(), threading.Event()

        def beat() -> None:
            # Open MPI ends a rank whose mpirun was killed when that rank next calls MPI: the save comes first
            while not pause.wait(BEAT) and not launcher_is_gone():
                with suppress(MPI.Exception):
                    for _ in range(LOW_PRIORITY):
                        alone.Iprobe()

        threading.Thread(target=beat, name="heartbeat", daemon=True).start()

    allreduce_leaves = _reported(MPICommunicator.allreduce_leaves)
    allreduce = _reported(MPICommunicator.allreduce)
    broadcast = _reported(MPICommunicator.broadcast)
    broadcast_array = _reported(MPICommunicator.broadcast_array)
    allgather = _reported(MPICommunicator.allgather)

    def _send(self, array: np.ndarray, peer: int) -> MPI.Prequest:
        """Make a synchronous send: it completes only on arrival, so that a lost receiver is noticed."""
        return self._comm.Ssend_init(array, peer, TAG)  # type: ignore[return-value]  # mpi4py declares a plain Request

    def recover(self) -> list[int]:
        """Continue with the survivors, all of which must call this; returns the lost ranks by their old numbers.

        Raises RanksLost if this part of the job must end, because a larger part may be continuing without it.
        """
        before = self._homes  # tells a dead process from one that cannot be reached
        self._comm.Revoke()
        self._use(self._comm.Shrink())
        gone = [rank for rank, home in enumerate(before) if home not in self._homes]
        lost = [rank for rank in gone if rank not in self._leaving]
        left, self._leaving = len(gone) - len(lost), range(0)
        self._end_lost_neighbours(before, lost)
        hosts = {host for host, _ in self._homes}
        unknown = sum(before[rank][0] not in hosts for rank in lost)  # dead with their host, or cut off
        known = len(before) - left - unknown
        if known < unknown or (known == unknown and 0 in lost):
            raise RanksLost(
                f"{unknown} of {len(before)} ranks cannot be reached and may be continuing without this one, so it "
                "ends here; once you know that they have ended, resume from the last checkpoint with --resume auto"
            ).of_every_rank()
        return lost

    def _use(self, comm: MPI.Comm) -> None:
        """Continue with the ranks of ``comm``."""
        self._retired.append(self._exchange)  # messages in flight may still arrive in its buffers
        self._exchange = None
        self._comm = comm
        comm.Set_errhandler(MPI.ERRORS_RETURN)
        self.rank, self.size = comm.rank, comm.size
        self.is_root = self.rank == 0
        self._homes = self._find_homes()

    recruit = staticmethod(Recruit)  # see Resizable

    @_reported
    def grow(self, recruit: Recruit | None) -> None:
        """See Resizable.grow."""
        merged = merge(cast(MPI.Intracomm, self._comm), recruit)
        if merged is None:
            raise RanksLost("a rank was lost while another joined")
        self._use(merged)

    @_reported
    def join(self) -> None:
        """See Resizable.join."""
        assert self._running is not None
        try:
            self._use(self._running.join())
        except RanksLost:  # the others may not have taken this one in
            leave()
        self.parent = None

    def shrink(self, size: int) -> NoReturn:
        """See Resizable.shrink."""
        self._leaving = range(size, self.size)
        self.allgather(None)  # raises RanksLost if another rank has passed this, and some have left already
        if self.rank >= size:
            leave()
        raise RanksLost("ranks left")

    def _end_lost_neighbours(self, before: list[tuple[str, int]], lost: list[int]) -> None:
        """Kill lost ranks on this host that hang instead of being dead: they must not wake up and write."""
        here = os.uname().nodename
        for rank in lost:
            host, process = before[rank]
            if host == here:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(process, signal.SIGKILL)

    def drop(self, ranks: list[int]) -> None:
        """See Communicator.drop. MPI's failure detector does not watch ranks that joined later."""
        self._end_lost_neighbours(self._homes, ranks)

    def _free(self) -> None:
        """Free nothing: interrupted requests cannot be freed, and MPI_Finalize is not called."""

    def leave(self, code: int) -> int:
        """End this process without MPI_Finalize, which may wait for dead ranks.

        The process ends with 0, because any other code makes mpirun end the other ranks or leaves them hanging. The
        launcher reads the real code from the exit file.
        """
        sys.stdout.flush()
        sys.stderr.flush()
        if code != RanksLost.exit_code:  # else other ranks may be continuing without this one
            tell_launcher(code, left=not self.is_root)
        os._exit(0 if EXIT_FILE in os.environ else code)


def join_job() -> RecoverableCommunicator:
    """Return the communicator of a process that is to become a rank of the job which started it: alone until then."""
    return RecoverableCommunicator(RunningJob())
