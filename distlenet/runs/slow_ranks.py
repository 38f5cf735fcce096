"""Names the rank that the others wait for, what that costs, and the likely cause.

All ranks meet in every step, so all are as slow as the slowest. About once a second they compare the time that each
needs for a leaf, waiting excluded. A rank is slow if it needs much longer than the middle of the others in nearly all
of the last comparisons. Other work on the machine may hide this: a rank is also slow if it was so now and then, and
never had its core to itself, as the others had. Ranks that share a core are slow together: they are found by the cores
that they may use.
"""

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from distlenet.parallel import Communicator
from distlenet.processes import ranges
from distlenet.runs.slow_causes import Cause, Row, Stretch, add_up, crowds, find_cause, intruders, usual
from distlenet.runs.usage import Meter
from distlenet.training.events import Event, Notice, StepDone

SPAN = 1.0  # seconds between two comparisons, evaluations included
FIRST = 10  # steps before the first one, which is not judged: much happens for the first time
LENGTH, MOST = 15, 12  # a rank is slow if it was so in 12 of the last 15 comparisons
LONG, SOME = 24, 4  # or in 4 of the last 24, if it was kept off its core in all of them
KEPT, FREE = 0.15, 0.05  # shares of the time in which a rank waits for its core: kept off it, or free to use it
SUSPECT = 3  # comparisons in a row after which a slow rank looks for other processes on its core
MANY = 64  # ranks from which they compare less often
SLOW = 1.12  # times as long as the others


@dataclass
class Slow:
    """A rank that the others wait for; times in seconds."""

    rank: int
    host: str
    cores: str  # that it may run on: "0-3"
    leaf: float  # that it needs for a leaf
    usual: float  # that the middle of the others needs
    cause: Cause
    lost: float  # that the others have waited for it so far


class SlowRanks:
    """Watches the ranks of ``comm``, and adds up their times since the ranks last changed."""

    def __init__(self, comm: Communicator) -> None:
        self.comm = comm
        self.slow: dict[int, Slow] = {}  # those named
        self._totals: list[Stretch] = []  # of each rank
        self._waits: list[float] = []  # seconds in which each rank waited for others
        self._recent: deque[Row] = deque(maxlen=LONG)

    def follow(self, events: Iterator[Event], shards: Sequence[int]) -> Iterator[Event]:
        """Yield ``events``, and a notice when a rank turns out to be slow; ``shards``: those of this rank, as of now.

        A collective operation, like the steps: after some of them the ranks exchange a short message.
        """
        if self.comm.size == 1:
            yield from events
            return
        self._recent.clear()
        meter, steps, due, first = Meter(), list[StepDone](), FIRST, True
        for event in events:
            yield event
            if isinstance(event, StepDone):
                steps.append(event)
                if len(steps) == due:
                    row = self._compare(steps, len(shards), meter)
                    self._count(row)
                    if not first:
                        yield from self._judge(row)
                    # all ranks compute the same number, from the same figures
                    slowest, span = max(part.usage.seconds for part in row), SPAN * max(1, len(row) / MANY)
                    due, steps, first = max(2, round(due * span / slowest)), [], False

    def for_summary(self) -> dict[str, Any]:
        """Return the times of each rank, and the ranks that the others waited for, as entries of the summary."""
        if not self._totals:
            return {}
        seconds = max(total.seconds for total in self._totals)
        entries: dict[str, Any] = {"rank_times": [self._times(rank) for rank in range(len(self._totals))]}
        if self.slow:
            entries["slow_ranks"] = [
                asdict(slow) | {"cause": slow.cause.word, "why": slow.cause.text, "lost_share": slow.lost / seconds}
                for slow in self.slow.values()
            ]
        return entries

    def _times(self, rank: int) -> dict[str, Any]:
        total, wait = self._totals[rank], self._waits[rank]
        parts = {"load": total.load, "compute": total.compute, "wait": wait, "exchange": total.exchange - wait}
        parts["other"] = total.seconds - total.load - total.compute - total.exchange
        parts["off_core"] = total.usage.delay  # of all of these
        facts = {"rank": rank, "host": total.host, "cores": total.usage.cores, "leaves": total.leaves}
        cause = self.slow[rank].cause.word if rank in self.slow else ""
        return facts | {name: round(value, 3) for name, value in parts.items()} | {"cause": cause}

    def _compare(self, steps: Sequence[StepDone], leaves: int, meter: Meter) -> Row:
        """Return the times of all ranks in the last ``steps``."""
        own = Stretch.of_steps(steps, self.comm.rank, leaves, meter.read(search=self._suspected()))
        return [Stretch.of(facts) for facts in self.comm.allgather(asdict(own))]

    def _suspected(self) -> bool:
        """Whether this rank was slow in the last comparisons, or kept off its core, but is not named yet."""
        rows, rank = list(self._recent), self.comm.rank
        if rank in self.slow or len(rows) < SUSPECT:
            return False
        return all(rank in slow_in(row) for row in rows[-SUSPECT:]) or (len(rows) >= LENGTH and kept_off(rows, rank))

    def _count(self, row: Row) -> None:
        """Add ``row`` to the times of the ranks, and to the cost of those that were named."""
        if [(total.host, total.process) for total in self._totals] != [(part.host, part.process) for part in row]:
            self._totals, self._waits, self.slow = [], [0.0] * len(row), {}
            self._recent.clear()
        self._totals = [add_up(parts) for parts in zip(*filter(None, [self._totals, row]), strict=True)]
        shortest = min(part.exchange for part in row)
        self._waits = [wait + part.exchange - shortest for wait, part in zip(self._waits, row, strict=True)]
        for slow in self.slow.values():
            slow.lost += waited_for(row, slow.rank)

    def _judge(self, row: Row) -> Iterator[Event]:
        """Yield a notice for each rank, or group of ranks on one core, that turns out to be slow."""
        self._recent.append(row)
        named = find_slow(list(self._recent)) - self.slow.keys()
        while named:
            rank = min(named)
            rows = [row for row in self._recent if rank in slow_in(row)]
            whole = [add_up(parts) for parts in zip(*rows, strict=True)]
            group = next((group for group in crowds(whole) if rank in group), [rank])
            named -= {*group}
            found = [self._describe(whole, member) for member in group]
            self.slow |= {slow.rank: slow for slow in found}
            yield Notice(sentence(found, sum(row[rank].seconds for row in self._recent)), "warning")

    def _describe(self, whole: Row, rank: int) -> Slow:
        own, lost = whole[rank], sum(waited_for(row, rank) for row in self._recent)
        return Slow(
            rank, own.host, own.usage.cores, own.leaf, usual(whole, rank, "leaf"), find_cause(whole, rank), lost
        )


def slow_in(row: Row) -> set[int]:
    """Return the ranks that were slow in one comparison."""
    late = {part.rank for part in row if part.leaf > SLOW * usual(row, part.rank, "leaf")}
    return late.union(intruders(row), *crowds(row))


def find_slow(rows: Sequence[Row]) -> set[int]:
    """Return the ranks that were slow in most of the last comparisons, or in some and kept off their core in all."""
    return often_slow(rows, LENGTH, MOST) | {rank for rank in often_slow(rows, LONG, SOME) if kept_off(rows, rank)}


def often_slow(rows: Sequence[Row], length: int, times: int) -> set[int]:
    """Return the ranks that were slow ``times`` or more in the last ``length`` comparisons; none if there are fewer."""
    late = Counter(rank for row in rows[-length:] for rank in slow_in(row))
    return {rank for rank, number in late.items() if number >= times and len(rows) >= length}


def kept_off(rows: Sequence[Row], rank: int) -> bool:
    """Whether ``rank`` waited for its core in all comparisons, and the middle of the others hardly in one of them."""
    least = [min(part.usage.delayed for part in parts) for parts in zip(*rows, strict=True)]
    return least.pop(rank) > KEPT and median(least) < FREE


def waited_for(row: Row, rank: int) -> float:
    """Return the seconds that the others waited for ``rank``, or that it waited for the core that it shares."""
    if any(rank in group for group in crowds(row)):
        return row[rank].usage.delayed * row[rank].seconds
    return max(0.0, usual(row, rank, "exchange") - row[rank].exchange)


def sentence(found: Sequence[Slow], seconds: float) -> str:
    """Return the warning about ``found``, a rank or those that share a core; ``seconds``: of the last comparisons."""
    first = found[0]
    cost = f"{first.lost:.1f} s of the last {seconds:.1f} s ({first.lost / seconds:.0%})"
    where = f"on {first.host} (core{'s' * (not first.cores.isdecimal())} {first.cores})"
    if len(found) > 1:
        ranks = ranges([slow.rank for slow in found])
        return f"ranks {ranks} {where} wait for each other's core, {cost}; likely cause: {first.cause.text}"
    return (
        f"the other ranks wait for rank {first.rank} {where}, {cost}: it needs {1e3 * first.leaf:.2f} ms for a leaf, "
        f"they {1e3 * first.usual:.2f} ms; likely cause: {first.cause.text}"
    )
