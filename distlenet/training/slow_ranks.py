"""Names the rank that the others wait for, and the likely cause.

All ranks meet in every step, so all are as slow as the slowest. Every WINDOW steps they compare the time that each
needs for a leaf, waiting excluded: its lower quartile, which disturbances of most steps do not reach. A rank is slow if
it needs much longer than the middle of the others, in PATIENCE windows in a row.
"""

import os
import resource
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median, quantiles
from time import perf_counter, process_time
from typing import Any

from distlenet.numerics import numerics
from distlenet.parallel import Communicator
from distlenet.training.events import Event, Notice, StepDone

WINDOW = 50  # steps
PATIENCE = 4  # windows
SLOW = 1.2  # times as long as the others
IDLE = 0.9  # below this share of the time on a core, something keeps a rank from computing
PUSHED = 20  # times per second that another process takes the core


@dataclass(frozen=True)
class Pace:
    """One rank in one window; times in seconds."""

    rank: int
    host: str
    leaf: float  # to load and compute one leaf: the lower quartile of the steps
    leaves: int
    busy: float  # time of the CPU, all threads, per second
    switches: float  # per second: times that the system gave the core to another process
    faults: int  # pages that had to be read from the disk
    threads: int  # of BLAS

    @property
    def cause(self) -> str:
        """Why this rank is slower than others, if its figures tell."""
        if self.faults > WINDOW:
            return "it reads memory pages from the disk: its memory is too small"
        if self.threads > 1:
            return f"it computes with {self.threads} BLAS threads: set OPENBLAS_NUM_THREADS=1"
        if self.busy < IDLE and self.switches > PUSHED:
            return "another process or rank shares its core"
        if self.busy < IDLE:
            return "it waits within its own work, perhaps for its disk"
        return "its core is slower: lower frequency, or a neighbour on the same physical core"


@dataclass
class SlowRanks:
    """Watches the ranks of ``comm``; ``reported`` are the figures of those that were found slow."""

    comm: Communicator
    reported: dict[int, Pace] = field(default_factory=dict)

    def follow(self, events: Iterator[Event], shards: Sequence[int]) -> Iterator[Event]:
        """Yield ``events``, and a notice when a rank turns out to be slow; ``shards``: those of this rank, as of now.

        A collective operation, like the steps: it exchanges a short message after every WINDOW of them.
        """
        if self.comm.size == 1:
            yield from events
            return
        own, rows, usage = list[float](), list[list[Pace]](), Usage()
        for event in events:
            yield event
            if isinstance(event, StepDone):
                own.append((event.seconds - event.exchange_seconds) / len(shards))
                if len(own) == WINDOW:
                    pace = usage.pace(self.comm.rank, quantiles(own, n=4)[0], len(shards))
                    rows = [*rows, [Pace(**row) for row in self.comm.allgather(asdict(pace))]][-PATIENCE:]
                    yield from self._judge(rows)
                    own, usage = [], Usage()

    def for_summary(self) -> list[dict[str, Any]]:
        """Return the figures of the ranks that were found slow, and the likely causes."""
        return [asdict(pace) | {"cause": pace.cause} for pace in self.reported.values()]

    def _judge(self, rows: list[list[Pace]]) -> Iterator[Event]:
        for rank in find_slow(rows):
            if rank not in self.reported:
                self.reported[rank] = rows[-1][rank]
                yield Notice(sentence(rows[-1], rank), "warning")


class Usage:
    """What this process uses from now on."""

    def __init__(self) -> None:
        self._start, self._cpu = perf_counter(), process_time()
        self._used = resource.getrusage(resource.RUSAGE_SELF)

    def pace(self, rank: int, leaf: float, leaves: int) -> Pace:
        """Return the figures of this rank since then; ``leaf``: seconds."""
        used, seconds = resource.getrusage(resource.RUSAGE_SELF), perf_counter() - self._start
        return Pace(
            rank=rank,
            host=os.uname().nodename,
            leaf=leaf,
            leaves=leaves,
            busy=(process_time() - self._cpu) / seconds,
            switches=(used.ru_nivcsw - self._used.ru_nivcsw) / seconds,
            faults=used.ru_majflt - self._used.ru_majflt,
            threads=int(numerics()["threads"] or 1),
        )


def find_slow(rows: list[list[Pace]]) -> list[int]:
    """Return the ranks that are slow in all of PATIENCE windows; ``rows``: the ranks' figures in each window."""
    if len(rows) < PATIENCE:
        return []
    return [rank for rank in range(len(rows[0])) if all(row[rank].leaf > SLOW * usual(row, rank) for row in rows)]


def usual(row: list[Pace], rank: int) -> float:
    """Return the median time for a leaf of all ranks but ``rank``."""
    return median(pace.leaf for pace in row if pace.rank != rank)


def sentence(row: list[Pace], rank: int) -> str:
    """Return the warning about ``rank``."""
    slow, others = row[rank], usual(row, rank)
    lost = (slow.leaf - others) * slow.leaves
    return (
        f"the other ranks wait for rank {rank} on {slow.host}: it needs {1e3 * slow.leaf:.2f} ms for a leaf, they "
        f"{1e3 * others:.2f} ms, which costs up to {1e3 * lost:.1f} ms in each step; likely cause: {slow.cause}"
    )
