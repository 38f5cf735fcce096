"""Pretend ranks that die: a fake MPI with user-level failure mitigation whose ranks are threads of one process.

``distlenet/parallel/mpi_recovery.py`` is loaded a second time, with a stand-in for mpi4py in which a rank can be ended
at any of its messages. Its current work is left half done, as after a kill -9.
"""

import threading
import types
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pretend

from distlenet.errors import RanksLost


class Killed(BaseException):
    """Ends a pretend rank; no code may catch it."""


class Failure(Exception):
    """The error of an MPI call that needed a lost rank."""

    def Get_error_class(self) -> str:
        """Return the error's class."""
        return self.args[0]


class World:
    """The shared state of a communicator's ranks; ``names`` are their ranks in the first communicator."""

    def __init__(self, names: list[int], job: "Job") -> None:
        self.names, self.job = names, job
        self.revoked = False
        self.mail: dict[tuple[int, int, int], deque[np.ndarray]] = defaultdict(deque)
        self.leaving: set[int] = set()  # the ranks that are in Shrink
        self.heir: World | None = None

    @property
    def dead(self) -> set[int]:
        """The lost ranks."""
        return {rank for rank, name in enumerate(self.names) if name in self.job.dead}


class Job:
    """All ranks of a job; ``deaths`` maps a rank that must die to the number of the call in which it does.

    ``hosts`` are those of the ranks. ``over``: a rank has ended the whole job.
    """

    def __init__(self, size: int, deaths: dict[int, int], hosts: Sequence[str] = "") -> None:
        self.deaths, self.dead, self.over = deaths, set(), False
        self.hosts = hosts or ["here"] * size
        self.calls: Counter[int] = Counter()
        self.changed = threading.Condition()
        self.world = World(list(range(size)), self)

    def die_if_due(self, name: int) -> None:
        """End this rank if it must die now; every MPI call starts with this."""
        with self.changed:
            self.calls[name] += 1
            if self.over or self.deaths.get(name) == self.calls[name]:
                self.bury(name)
                raise Killed

    def bury(self, name: int) -> None:
        """Inform all ranks that a rank is lost."""
        with self.changed:
            self.dead.add(name)
            self.changed.notify_all()

    def wait(self, ready: Callable[[], bool], lost: Callable[[], str | None]) -> None:
        """Wait until ``ready``; raise Failure if ``lost`` returns a reason why that will never happen."""
        if not self.changed.wait_for(lambda: self.over or ready() or lost() is not None, pretend.PATIENCE):
            raise pretend.Broken
        if self.over:
            raise Killed
        if not ready():
            raise Failure(lost())


class Comm:
    """One rank's view of a world: the methods of mpi4py's Comm that are used."""

    def __init__(self, world: World, name: int) -> None:
        self.world, self.job, self.name = world, world.job, name
        self.rank, self.size = world.names.index(name), len(world.names)

    def Dup(self) -> "Comm":
        return self

    def Set_errhandler(self, handler: object) -> None:
        pass

    def _lost(self, peers: set[int]) -> Callable[[], str | None]:
        def reason() -> str | None:
            return "revoked" if self.world.revoked else "failed" if peers & self.world.dead else None

        return reason

    def Send_init(self, buffer: np.ndarray, dest: int, tag: int) -> pretend.Request:
        def start() -> None:
            self.job.die_if_due(self.name)
            with self.job.changed:
                self.world.mail[self.rank, dest, tag].append(buffer.copy())
                self.job.changed.notify_all()

        return pretend.Request(start=start)

    def Ssend_init(self, buffer: np.ndarray, dest: int, tag: int) -> pretend.Request:
        message = self.Send_init(buffer, dest, tag)

        def wait() -> None:
            self.job.die_if_due(self.name)
            with self.job.changed:
                self.job.wait(lambda: not self.world.mail[self.rank, dest, tag], self._lost({dest}))

        return pretend.Request(start=message._start, wait=wait)

    def Recv_init(self, buffer: np.ndarray, source: int, tag: int) -> pretend.Request:
        def wait() -> None:
            self.job.die_if_due(self.name)
            with self.job.changed:
                waiting = self.world.mail[source, self.rank, tag]
                self.job.wait(lambda: bool(waiting), self._lost({source}))
                buffer[...] = waiting.popleft()
                self.job.changed.notify_all()

        return pretend.Request(wait=wait)

    def Revoke(self) -> None:
        self.job.die_if_due(self.name)
        with self.job.changed:
            self.world.revoked = True
            self.job.changed.notify_all()

    def Shrink(self) -> "Comm":
        world = self.world
        self.job.die_if_due(self.name)
        with self.job.changed:
            world.leaving.add(self.rank)
            self.job.changed.notify_all()
            self.job.wait(lambda: set(range(self.size)) - world.dead <= world.leaving, lambda: None)
            if world.heir is None:
                world.heir = World([name for name in world.names if name not in self.job.dead], self.job)
            return Comm(world.heir, self.name)

    def Abort(self, code: int) -> None:
        raise RanksLost(f"the job ends with {code}")


_here = threading.local()  # .comm: this thread's view of the first world


class CommWorld:
    """MPI.COMM_WORLD of the calling thread."""

    @staticmethod
    def Dup() -> Comm:
        return _here.comm

    @staticmethod
    def Abort(code: int) -> None:
        _here.comm.Abort(code)


MPI = types.SimpleNamespace(
    **vars(pretend.MPI),
    COMM_WORLD=CommWorld,
    Exception=Failure,
    Info=object,
    Intracomm=object,
    ERRORS_RETURN=None,
    **{"ERR_PROC_FAILED": "failed", "ERR_PROC_FAILED_PENDING": "pending"},
    **{"ERR_REVOKED": "revoked", "ERR_IN_STATUS": "status"},
)
joining = pretend.load("mpi_return.py", MPI)
recovery = pretend.load("mpi_recovery.py", MPI, mpi=pretend.plain, mpi_return=joining)


class MortalCommunicator(recovery.RecoverableCommunicator):
    """The communicator of a rank that may die; ranks are threads, so no process is ended."""

    def __init__(self) -> None:
        self.name = _here.comm.name
        super().__init__()

    def _keep_alive(self) -> None:
        pass

    def _find_homes(self) -> list[tuple[str, int]]:
        return [(self._comm.job.hosts[name], name) for name in self.allgather(self.name)]

    def _end_lost_neighbours(self, before: list[tuple[str, int]], lost: list[int]) -> None:
        pass

    def leave(self, code: int) -> int:
        return code


def outcomes(job: Job, work: Callable[[MortalCommunicator], Any]) -> list[Any | BaseException]:
    """Run ``work(comm)`` on all ranks of ``job``; return the result or exception of each."""
    found: list[Any] = [None] * len(job.world.names)

    def rank_of(name: int) -> None:
        _here.comm = Comm(job.world, name)
        try:
            with np.errstate(all="ignore"):
                found[name] = work(MortalCommunicator())
        except BaseException as error:
            found[name] = error
            if isinstance(error, RanksLost) and not error.agreed:
                job.over = True  # all_or_nothing has aborted the job
        finally:
            job.bury(name)  # for the others, a process that has ended is lost

    threads = [threading.Thread(target=rank_of, args=(name,), daemon=True) for name in job.world.names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * pretend.PATIENCE)
    assert not any(thread.is_alive() for thread in threads), f"pretend ranks still running; calls {job.calls}"
    return found
