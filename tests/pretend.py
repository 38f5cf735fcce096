"""Pretend ranks: a fake MPI of threads in one process, below the same communicator that real ranks use.

``mpi.py`` and ``mpi_exchange.py`` of distlenet/parallel are loaded a second time, with a stand-in for mpi4py whose
messages go through queues. Everything above the messages, including the stages of an exchange and the tree, is the code
that runs under mpirun.
"""

import importlib.util
import sys
import threading
import time
import types
from collections import defaultdict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import distlenet.parallel.connect  # with all modules that must not be loaded a second time below
from distlenet.parallel import Communicator

PATIENCE = 60.0  # seconds until ranks that wait for each other count as hanging


class Broken(Exception):
    """Another rank failed, or ranks wait for a message that is never sent."""


class Request:
    """A persistent message: ``start`` sends it, ``wait`` completes it, any number of times until it is freed."""

    def __init__(self, start: Callable[[], None] = lambda: None, wait: Callable[[], None] = lambda: None) -> None:
        self._start, self._wait, self._active, self._freed = start, wait, False, False

    @staticmethod
    def Startall(requests: list["Request"]) -> None:
        """Start all ``requests``."""
        for request in requests:
            assert not request._active and not request._freed
            request._active = True
            request._start()

    @staticmethod
    def Waitall(requests: list["Request"], statuses: list[object]) -> None:
        """Complete all ``requests``."""
        for request in requests:
            if request._active:
                request._wait()
                request._active = False

    def Free(self) -> None:
        """Free the message."""
        self._freed = True


MPI = types.SimpleNamespace(
    Request=Request,
    Prequest=Request,
    Status=object,
    Comm=object,
    get_vendor=lambda: ("pretend", (1, 0)),
)


class World:
    """The shared state of the pretend ranks."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.broken = False
        self._mail: dict[tuple[int, int, int], deque[np.ndarray]] = defaultdict(deque)
        self._changed = threading.Condition()

    def fail(self) -> None:
        """Make all waiting ranks fail."""
        with self._changed:
            self.broken = True
            self._changed.notify_all()

    def _wait(self, ready: Callable[[], bool]) -> None:
        if not self._changed.wait_for(lambda: ready() or self.broken, PATIENCE) or not ready():
            raise Broken

    def post(self, key: tuple[int, int, int], message: np.ndarray) -> None:
        """Send ``message``; ``key`` is (from, to, tag)."""
        with self._changed:
            self._mail[key].append(message)
            self._changed.notify_all()

    def fetch(self, key: tuple[int, int, int]) -> np.ndarray:
        """Return the oldest message of ``key``."""
        with self._changed:
            self._wait(lambda: bool(self._mail[key]))
            return self._mail[key].popleft()


class Comm:
    """One rank's view of the ``world``: the methods of mpi4py's Comm that are used."""

    def __init__(self, world: World, rank: int) -> None:
        self.world, self.rank, self.size = world, rank, world.size

    def Send_init(self, buffer: np.ndarray, dest: int, tag: int) -> Request:
        assert buffer.flags.c_contiguous
        return Request(start=lambda: self.world.post((self.rank, dest, tag), buffer.copy()))

    def Recv_init(self, buffer: np.ndarray, source: int, tag: int) -> Request:
        assert buffer.flags.c_contiguous

        def wait() -> None:
            message = self.world.fetch((source, self.rank, tag))
            assert (message.shape, message.dtype) == (buffer.shape, buffer.dtype)
            buffer[...] = message

        return Request(wait=wait)

    def Abort(self, code: int) -> None:
        self.world.fail()
        raise Broken


def load(file: str, mpi: types.SimpleNamespace, /, **others: types.ModuleType) -> types.ModuleType:
    """Load ``file`` of distlenet/parallel a second time, with stand-ins for mpi4py and for ``others`` of the room."""
    path = Path(distlenet.parallel.__file__).with_name(file)
    spec = importlib.util.spec_from_file_location(f"pretend_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    mpi4py = types.ModuleType("mpi4py")
    mpi4py.MPI, mpi4py.rc = mpi, types.SimpleNamespace()
    room = {f"distlenet.parallel.{name}": other for name, other in others.items()}
    with mock.patch.dict(sys.modules, {"mpi4py": mpi4py, **room}):
        spec.loader.exec_module(module)
    return module


exchange = load("mpi_exchange.py", MPI)
plain = load("mpi.py", MPI, mpi_exchange=exchange)
PretendCommunicator = plain.MPICommunicator


def outcomes(
    size: int, job: Callable[[Communicator], Any], communicator: type = PretendCommunicator
) -> list[Any | BaseException]:
    """Run ``job(comm)`` on ``size`` pretend ranks; return the result or exception of each."""
    world, found = World(size), [None] * size

    def rank_of(rank: int) -> None:
        try:
            with np.errstate(all="ignore"):
                found[rank] = job(communicator(Comm(world, rank)))
        except BaseException as error:
            found[rank] = error
            if not getattr(error, "agreed", False):  # an agreed error reaches the other ranks anyway
                world.fail()

    threads = [threading.Thread(target=rank_of, args=(rank,), daemon=True) for rank in range(size)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + PATIENCE
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    if any(thread.is_alive() for thread in threads):
        world.fail()
        raise AssertionError(f"pretend ranks still running after {PATIENCE:g} s")
    return found


def run(size: int, job: Callable[[Communicator], Any], communicator: type = PretendCommunicator) -> list[Any]:
    """Run ``job(comm)`` on ``size`` pretend ranks; return all results, or raise a rank's exception."""
    found = outcomes(size, job, communicator)
    errors = [error for error in found if isinstance(error, BaseException)]
    for error in sorted(errors, key=lambda error: isinstance(error, Broken)):
        raise error
    return found
