"""The communicator of many processes, over MPI.

A training step exchanges one vector, see ``Exchange``. All other data goes through rank 0 in point-to-point messages.
MPI's own collectives are not used, so that jobs that may lose ranks run the same code as all others: Open MPI drops
the messages of an interrupted collective, and ends the job if one of them is answered later. These messages are short
or rare; among 24 ranks of one host they took no longer than MPI's collectives.
"""

import atexit
import json
import os
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

from distlenet.activity import advance, phase
from distlenet.errors import LaunchError
from distlenet.handshake import EXIT_FILE, ORDERLY, READY, tell_aborted, tell_launcher
from distlenet.parallel.communicator import Communicator, pieces_of
from distlenet.parallel.tree import Tree

TAG = 32_767  # for messages outside the exchange, whose tags are shard numbers; the largest tag that MPI guarantees


class MPICommunicator:
    """The ranks of an MPI job. See ``Communicator`` for the methods."""

    survives_losses = False

    def __init__(self, comm: MPI.Comm | None = None) -> None:
        self._comm = comm or MPI.COMM_WORLD
        self.rank, self.size = self._comm.rank, self._comm.size
        self.is_root = self.rank == 0
        self.exchange_seconds = 0.0
        self._exchanges: dict[tuple[int, int], Exchange] = {}
        self._retired: list[object] = []  # requests and buffers that interrupted messages may still use
        atexit.register(self._free)
        if comm is None:
            self._say_ready()

    def _say_ready(self) -> None:
        """Tell `distlenet launch`, if it started the job, that all ranks are connected."""
        folder = Path(os.environ[EXIT_FILE]).parent if EXIT_FILE in os.environ else None
        host, sees_it = self.allgather([os.uname().nodename, folder is None or folder.exists()])[0]
        if not sees_it:  # every rank exits; one that sees the folder writes the exit code there
            error = LaunchError(
                f"rank 0, on {host}, does not see {folder}, where `distlenet launch` waits for it: start the job in a "
                "directory that all hosts share"
            )
            error.agreed, error.reported = True, not self.is_root
            raise error
        if folder and self.is_root:
            (folder / READY).touch()

    @property
    def description(self) -> str:
        """Name of the MPI library and number of ranks."""
        name, version = MPI.get_vendor()
        return f"{name} {'.'.join(map(str, version))}, {self.size} ranks"

    @phase("exchanging gradients")
    def allreduce_leaves(self, leaves: np.ndarray, shards: int) -> np.ndarray:
        """See Communicator.allreduce_leaves."""
        key = shards, leaves.shape[1]
        if key not in self._exchanges:
            for other in self._exchanges.values():  # of a network whose run is over
                other.free()
            self._exchanges.clear()
            self._exchanges[key] = Exchange(self._comm, shards, leaves.shape[1])
        exchange = self._exchanges[key]
        exchange.tree.add_local(self.rank, leaves)
        start = time.perf_counter()
        total = exchange.run(leaves)
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
        MPI.Request.Waitall(requests)
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

    def leave(self, code: int) -> int:
        """Return ``code``: MPI is finalised when the process ends."""
        tell_launcher(code, left=not self.is_root)
        return code

    def _free(self) -> None:
        for exchange in self._exchanges.values():
            exchange.free()

    def abort(self, code: int) -> None:
        """See Communicator.abort."""
        if code in ORDERLY:
            tell_launcher(code)
        tell_aborted()
        self._comm.Abort(code)
        os._exit(code)  # MPICH's Abort may return before it has ended this process


class Exchange:
    """The part of a reduction that runs between ranks, for vectors of one length.

    Chunk q of the vector belongs to rank q. Each rank sends its tree nodes, chunk by chunk, to the chunks' owners;
    each owner adds them up in tree order and sends the sum to all. Messages are sent from and received into the final
    arrays, without packing.

    The requests are persistent: made once and started again in each step. This saves their set-up, and keeps them
    valid when a rank is lost: Open MPI ends the job if an answer arrives for an invalid request.
    """

    def __init__(self, comm: MPI.Comm, shards: int, length: int) -> None:
        self._comm, self._rank = comm, comm.rank
        self.tree = Tree(comm.size, shards)
        edges = [rank * length // comm.size for rank in range(comm.size + 1)]
        self._chunks = [slice(start, stop) for start, stop in pairwise(edges)]
        self._peers = [rank for rank in range(comm.size) if rank != comm.rank]
        mine = self.tree.nodes[comm.rank]
        self._rows = {node: node - self.tree.runs[comm.rank].start for node in mine}
        width = edges[comm.rank + 1] - edges[comm.rank]
        self._received = {  # my chunk of the other ranks' nodes
            node: np.empty(width, np.float32) for peer in self._peers for node in self.tree.nodes[peer]
        }
        self._total = np.empty(length, np.float32)
        sums = shards  # a tag that no node has: nodes are tagged by their first shard
        others = [(peer, self._total[self._chunks[peer]]) for peer in self._peers]
        self._sums = [comm.Recv_init(chunk, peer, sums) for peer, chunk in others]
        self._sums += [comm.Send_init(self._total[self._chunks[comm.rank]], peer, sums) for peer in self._peers]
        self._leaves: np.ndarray | None = None
        self._nodes: list[MPI.Prequest] = []

    def free(self) -> None:
        """Free the requests, as MPI requires before it is finalised."""
        for request in self._nodes + self._sums:
            request.Free()
        self._nodes, self._sums = [], []

    def _connect(self, leaves: np.ndarray) -> None:
        """Make the requests that exchange the nodes in ``leaves``."""
        for request in self._nodes:
            request.Free()
        comm, self._leaves = self._comm, leaves
        self._nodes = [
            comm.Recv_init(self._received[node], peer, node) for peer in self._peers for node in self.tree.nodes[peer]
        ] + [
            comm.Send_init(leaves[row, self._chunks[peer]], peer, node)
            for peer in self._peers
            for node, row in self._rows.items()
        ]

    def run(self, leaves: np.ndarray) -> np.ndarray:
        """Exchange and add ``leaves`` (owned shards, length), to which the local additions have been applied."""
        if leaves is not self._leaves:
            self._connect(leaves)
        receives = len(self._peers)
        MPI.Prequest.Startall(self._sums[:receives])
        MPI.Prequest.Startall(self._nodes)
        MPI.Request.Waitall(self._nodes)
        own = self._chunks[self._rank]
        parts = {node: leaves[row, own] for node, row in self._rows.items()}
        self._total[own] = self.tree.add_shared(self._received | parts)
        MPI.Prequest.Startall(self._sums[receives:])
        MPI.Request.Waitall(self._sums)
        return self._total


def allreduce_by_mpi(values: np.ndarray) -> None:
    """Add up ``values`` of all ranks in place by MPI's own Allreduce, the reference for the exchange's speed."""
    MPI.COMM_WORLD.Allreduce(MPI.IN_PLACE, values, MPI.SUM)
