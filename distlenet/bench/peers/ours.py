"""This trainer: the real loop on random images, on one core and on ranks."""

from statistics import median

import numpy as np

from distlenet.bench.exchange import GRADIENT
from distlenet.bench.peers.peer import Peer, Work
from distlenet.bench.workload import network, steps
from distlenet.config import Config
from distlenet.numerics import ENGINE, numerics
from distlenet.parallel import owned_shards
from distlenet.runs.summary import reduce_share

NEEDS = ()
INSTALL = ""
PIECE = 64  # images at a time in inference


def version() -> str:
    """Return the engine's revision, numpy and the kernel of its BLAS."""
    facts = numerics()
    return f"engine {ENGINE}, numpy {facts['numpy']}, {facts['kernel']}"


def plain(work: Work, numerics: str = "native") -> Config:
    """Return settings without augmentation."""
    return Config(batch_size=work.batch_size, shards=work.shards, rotate=0.0, shift=0.0, zoom=0.0, numerics=numerics)


class OneCore(Peer):
    """One core; "augmented" are steps with augmentation, "portable" those in portable arithmetic."""

    name = "distlenet"
    kinds = ("train", "augmented", "infer", "portable")

    def __init__(self, work: Work) -> None:
        self.version = version()
        training, portable = (steps(work.comm, plain(work, numerics)) for numerics in ("native", "portable"))
        augmented = steps(work.comm, Config(batch_size=work.batch_size, shards=work.shards))
        net, images = network(), work.images()
        pieces = [
            np.ascontiguousarray(images[start : start + PIECE].transpose(1, 2, 0)[None])
            for start in range(0, len(images), PIECE)
        ]

        def infer() -> None:
            for piece in pieces:
                net.forward(piece)

        self.tasks = {
            **{"train": lambda: next(training), "augmented": lambda: next(augmented)},
            **{"infer": infer, "portable": lambda: next(portable)},
        }


class Ranks(Peer):
    """A rank on each core.

    "exchange" and "allreduce" are the exchange of a step alone, without waiting for other ranks, and MPI's own sum of a
    vector that each rank has already added up.
    """

    name = "distlenet"
    kinds = ("ranks", "exchange", "allreduce")
    by_mpirun = True

    def __init__(self, work: Work) -> None:
        comm = self.comm = work.comm
        self.version = f"{version()}, {comm.description}"
        self.events = steps(comm, plain(work))
        self.done: list[tuple[float, float]] = []  # (seconds, seconds of exchange) of each step
        self.exchanges: list[float] = []
        add_up = comm.allreduce
        if comm.size > 1:
            from distlenet.parallel.mpi import allreduce_by_mpi as add_up
        leaves = np.zeros((len(owned_shards(comm.rank, comm.size, work.shards)), GRADIENT), np.float32)
        vector = leaves[0].copy()

        def exchange() -> None:
            before = comm.exchange_seconds
            comm.allreduce_leaves(leaves, work.shards)
            self.exchanges.append(comm.exchange_seconds - before)

        self.tasks = {"ranks": self.step, "exchange": exchange, "allreduce": lambda: add_up(vector)}

    def step(self) -> None:
        """Take a training step."""
        event = next(self.events)
        self.done.append((event.seconds, event.exchange_seconds))

    def figures(self) -> dict[str, float]:
        """Return the exchange's share of the latest steps and its median time alone; a collective operation."""
        found = {"reduce_share": reduce_share(self.done, self.comm)} if self.done else {}
        if self.exchanges:
            found["exchange_microseconds"] = 1e6 * median(self.exchanges)
        self.done.clear()
        self.exchanges.clear()
        return found


PEERS = (OneCore, Ranks)
