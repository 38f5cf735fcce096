"""The communicator of many processes, over MPI.

A training step exchanges one vector, see ``mpi_exchange.py``. All other data goes through rank 0 in point-to-point
messages. MPI's own collectives are not used, so that jobs that may lose ranks run the same code as all others: Open MPI
drops the messages of an interrupted collective, and ends the job if one of them is answered later. These messages are
short or rare; among 24 ranks of one host they took no longer than MPI's collectives.
"""

import atexit
import contextlib
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

from distlenet.activity import advance, phase
from distlenet.errors import LaunchError
from distlenet.handshake import EXIT_FILE, ORDERLY, READY, tell_aborted, tell_launcher
from distlenet.parallel.communicator import Communicator, Parent, Span, pieces_of, untimed
from distlenet.parallel.mpi_exchange import Exchange, wait_all

TAG = 32_767  # for messages outside the exchange, whose tags are small; the largest tag that MPI guarantees


class MPICommunicator:
    """The ranks of an MPI job. See ``Communicator`` for the methods."""

    survives_losses = False
    parent: Parent | None = None

    def __init__(self, comm: MPI.Comm | None = None) -> None:
        self._comm = comm or MPI.COMM_WORLD
        self.rank, self.size = self._comm.rank, self._comm.size
        self.is_root = self.rank == 0
        self.exchange_seconds = 0.0
        self.span: Span = untimed
        self._exchange: Exchange | None = None
        self._retired: list[object] = []  # requests and buffers that interrupted messages may still use
        self._homes = self._find_homes()
        atexit.register(self._free)
        if comm is None:
            self._say_ready()

    def _say_ready(self) -> None:
        """Tell `distlenet launch`, if it started the job, that all ranks are connected."""
        folder = Path(os.environ[EXIT_FILE]).parent if EXIT_FILE in os.environ else None
        if not self.broadcast(folder is None or folder.exists()):
            error = LaunchError(  # every rank exits; one that sees the folder writes the exit code there
                f"rank 0, on {self._homes[0][0]}, does not see {folder}, where `distlenet launch` waits for it: start "
                "the job in a directory that all hosts share"
            )
            error.agreed, error.reported = True, not self.is_root
            raise error
        if folder and self.is_root:
            (folder / READY).touch()

    def _find_homes(self) -> list[tuple[str, int]]:
        """Return each rank's (host, process)."""
        return [tuple(home) for home in self.allgather([os.uname().nodename, os.getpid()])]

    @property
    def hosts(self) -> list[str]:
        """See Communicator.hosts."""
        return [host for host, _ in self._homes]

    @property
    def description(self) -> str:
        """Name of the MPI library and number of ranks."""
        name, version = MPI.get_vendor()
        return f"{name} {'.'.join(map(str, version))}, {self.size} ranks"

    @phase("exchanging gradients")
    def allreduce_leaves(self, leaves: np.ndarray, shards: int) -> np.ndarray:
        """See Communicator.allreduce_leaves."""
        exchange = self._exchange
        if exchange is None or exchange.leaves is not leaves or exchange.shards != shards:
            if exchange:
                exchange.free()
            exchange = self._exchange = Exchange(self._comm, [host for host, _ in self._homes], shards, leaves)
        with self.span("add"):
            exchange.add_local()
        start = time.perf_counter()
        total = exchange.run(self.span)
        self.exchange_seconds += time.perf_counter() - start
        return total

    def allreduce(self, values: np.ndarray) -> None:
        """See Communicator.allreduce."""
        for part in self._collect([np.empty_like(values) for _ in range(1, self.size)], values):
            values += part
        self.broadcast_array(values)

    def broadcast(self, value: Any, source: int = 0) -> Any:
        """See Communicator.broadcast."""
        text = json.dumps(value).encode() if self.rank == source else b""
        length = np.array([len(text)], np.int64)
        self.broadcast_array(length, source)
        buffer = np.frombuffer(text, np.uint8).copy() if text else np.empty(length[0], np.uint8)
        self.broadcast_array(buffer, source)
        return json.loads(buffer.tobytes())

    def broadcast_array(self, array: np.ndarray, source: int = 0) -> None:
        """See Communicator.broadcast_array."""
        peers = [rank for rank in range(self.size) if rank != source]
        for piece in pieces_of(array):
            if self.rank == source:
                self._run([self._send(piece, peer) for peer in peers])
            else:
                self._run([self._comm.Recv_init(piece, source, TAG)])
            advance()

    def allgather(self, value: Any) -> list[Any]:
        """See Communicator.allgather."""
        text = np.frombuffer(json.dumps(value).encode(), np.uint8)
        lengths = self._collect([np.empty(1, np.int64) for _ in range(1, self.size)], np.array([len(text)]))
        texts = self._collect([np.empty(length[0], np.uint8) for length in lengths], text)
        return self.broadcast([json.loads(part.tobytes()) for part in (text, *texts)])

    def _collect(self, buffers: list[np.ndarray], array: np.ndarray) -> list[np.ndarray]:
        """Return on rank 0 the short ``array`` of ranks 1, 2, ...; [] on the others.

        ``buffers`` receive them, one for each rank but 0; they are used on rank 0 alone.
        """
        if self.rank:
            self._run([self._send(array, 0)])
            return []
        self._run([self._comm.Recv_init(buffer, peer, TAG) for peer, buffer in enumerate(buffers, 1)])
        return buffers

    def _send(self, array: np.ndarray, peer: int) -> MPI.Prequest:
        return self._comm.Send_init(array, peer, TAG)

    def _run(self, requests: list[MPI.Prequest]) -> None:
        """Start the messages and wait until they are received or their send buffers are free again."""
        self._retired.append(requests)
        MPI.Prequest.Startall(requests)
        wait_all(requests)
        self._retired.pop()
        for request in requests:
            request.Free()

    def split(self, teams: int) -> tuple[int, Communicator]:
        """See Communicator.split."""
        team = self.rank * teams // self.size
        return team, MPICommunicator(self._comm.Split(team, self.rank))

    def recover(self) -> list[int]:
        """A plain MPI job does not outlive its ranks: see RecoverableCommunicator."""
        raise NotImplementedError

    def drop(self, ranks: list[int]) -> None:
        """A plain MPI job does not outlive its ranks."""

    def leave(self, code: int) -> int:
        """Return ``code``: MPI is finalised when the process ends."""
        send_at_once()
        tell_launcher(code, left=not self.is_root)
        return code

    def _free(self) -> None:
        if self._exchange:
            self._exchange.free()

    def abort(self, code: int) -> None:
        """See Communicator.abort."""
        if code in ORDERLY:
            tell_launcher(code)
        tell_aborted()
        self._comm.Abort(code)
        os._exit(code)  # MPICH's Abort may return before it has ended this process


def send_at_once() -> None:
    """Let this process's TCP connections send without delay, among them the one to Open MPI's launcher.

    MPI_Finalize sends the launcher two short messages in a row. By default the second waits until the first is
    acknowledged, which takes the launcher 40 ms (Nagle's algorithm with delayed acknowledgements).
    """
    folder = Path("/proc/self/fd")  # Linux
    for path in folder.iterdir() if folder.exists() else ():
        with contextlib.suppress(OSError):
            if os.readlink(path).startswith("socket:"):
                with socket.socket(fileno=os.dup(int(path.name))) as connection:
                    if connection.family == socket.AF_INET and connection.type == socket.SOCK_STREAM:
                        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def allreduce_by_mpi(values: np.ndarray) -> None:
    """Add up ``values`` of all ranks in place by MPI's own Allreduce, the reference for the exchange's speed."""
    MPI.COMM_WORLD.Allreduce(MPI.IN_PLACE, values, MPI.SUM)
