"""Many processes: the communicator over MPI. The only place that imports mpi4py.

What is sent in a training step is one vector: each rank sends the nodes of the reduction tree that it
cannot add further, cut into one chunk per rank; the owner of a chunk finishes the tree on it, and sends
the sum to all.
"""

import json
import os
import time
from typing import Any

import mpi4py

# pages of other ranks are no errors of ours: a failing rank must end the job, see launcher.py
mpi4py.rc.recv_mprobe = False

import numpy as np  # noqa: E402
from mpi4py import MPI  # noqa: E402

from distlenet.parallel.tree import Tree  # noqa: E402


class MPICommunicator:
    """The ranks of an MPI job. See ``Communicator`` for the methods."""

    def __init__(self, comm: MPI.Comm | None = None) -> None:
        self._comm = comm or MPI.COMM_WORLD
        self.rank, self.size = self._comm.rank, self._comm.size
        self.is_root = self.rank == 0
        self.exchange_seconds = 0.0
        self._exchanges: dict[tuple[int, int], Exchange] = {}

    @property
    def description(self) -> str:
        """Name of the MPI library and number of ranks."""
        name, version = MPI.get_vendor()
        return f"{name} {'.'.join(map(str, version))}, {self.size} ranks"

    def reduce(self, leaves: np.ndarray, shards: int) -> np.ndarray:
        """See Communicator.reduce."""
        key = shards, leaves.shape[1]
        if key not in self._exchanges:
            self._exchanges[key] = Exchange(self._comm, shards, leaves.shape[1])
        exchange = self._exchanges[key]
        exchange.tree.add_local(self.rank, leaves)
        start = time.perf_counter()
        total = exchange.run(leaves)
        self.exchange_seconds += time.perf_counter() - start
        return total

    def merge(self, values: np.ndarray) -> None:
        """See Communicator.merge."""
        self._comm.Allreduce(MPI.IN_PLACE, values, MPI.SUM)

    def share(self, value: Any) -> Any:
        """See Communicator.share."""
        text = json.dumps(value).encode() if self.is_root else b""
        length = np.array([len(text)], np.int64)
        self._comm.Bcast(length)
        buffer = np.frombuffer(text, np.uint8).copy() if self.is_root else np.empty(length[0], np.uint8)
        self._comm.Bcast(buffer)
        return json.loads(buffer.tobytes())

    def share_array(self, array: np.ndarray) -> None:
        """See Communicator.share_array."""
        self._comm.Bcast(array)

    def gather(self, value: Any) -> list[Any]:
        """See Communicator.gather."""
        text = np.frombuffer(json.dumps(value).encode(), np.uint8)
        lengths = np.empty(self.size, np.int64)
        self._comm.Allgather(np.array([len(text)], np.int64), lengths)
        everything = np.empty(lengths.sum(), np.uint8)
        self._comm.Allgatherv(text, [everything, lengths.tolist()])
        ends = np.cumsum(lengths)
        return [
            json.loads(everything[stop - length : stop].tobytes()) for stop, length in zip(ends, lengths, strict=True)
        ]

    def abort(self, code: int) -> None:
        """See Communicator.abort."""
        self._comm.Abort(code)
        os._exit(code)  # MPICH's Abort may return before this process is ended


class Exchange:
    """The part of a reduction that runs between ranks, for vectors of one length.

    Chunk q of the vector belongs to rank q. Each rank sends its tree nodes, chunk by chunk, to the
    chunks' owners (one Alltoallv); each owner adds them up in tree order and sends the sum back to all
    (one Allgatherv).
    """

    def __init__(self, comm: MPI.Comm, shards: int, length: int) -> None:
        self._comm = comm
        self.tree = Tree(comm.size, shards)
        rank, size = comm.rank, comm.size
        edges = [q * length // size for q in range(size + 1)]
        self._chunks = [slice(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]
        widths = [b - a for a, b in zip(edges[:-1], edges[1:], strict=True)]
        mine, width = self.tree.nodes[rank], widths[rank]
        self._rows = [node - self.tree.runs[rank].start for node in mine]
        self._send = np.empty(len(mine) * length, np.float32)
        self._send_counts = [len(mine) * w for w in widths]
        self._pack = []  # views of the send buffer: to each owner its chunk of each of my nodes
        place = 0
        for w in widths:
            self._pack.append([self._send[place + i * w : place + (i + 1) * w] for i in range(len(mine))])
            place += len(mine) * w
        self._receive = np.empty(shards * width, np.float32)
        self._receive_counts = [len(nodes) * width for nodes in self.tree.nodes]
        self._parts, place = {}, 0  # my chunk of every node, by the node's first shard
        for node in (node for nodes in self.tree.nodes for node in nodes):
            self._parts[node] = self._receive[place : place + width]
            place += width
        self._total, self._widths = np.empty(length, np.float32), widths

    def run(self, leaves: np.ndarray) -> np.ndarray:
        """Exchange and add; ``leaves`` (owned shards, length) after the local additions."""
        for chunk, targets in zip(self._chunks, self._pack, strict=True):
            for row, target in zip(self._rows, targets, strict=True):
                np.copyto(target, leaves[row, chunk])
        self._comm.Alltoallv([self._send, self._send_counts], [self._receive, self._receive_counts])
        part = self.tree.add_shared(self._parts)
        self._comm.Allgatherv(part, [self._total, self._widths])
        return self._total
