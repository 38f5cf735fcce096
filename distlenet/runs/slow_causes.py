"""Why a rank is slow: from the times of all ranks in the same stretch of steps, and what each used of its machine."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from distlenet.processes import ranges
from distlenet.runs.usage import Usage, machine
from distlenet.training.events import StepDone

HELPING = 0.1  # cores that other threads of a rank use, from which they count
PAGING = 50  # memory pages read from the disk per second, from which a rank's memory is too small
STOLEN = 0.05  # share of the time that the hypervisor takes, from which it counts
LIMITED = 0.05  # the same of a container's limit
CROWDED = 0.1  # share of the time that ranks wait for each other's core, from which it counts
SLOWER = 0.9  # times the frequency of others
SUMS = (  # the figures of stretches and usages that add up
    *("steps", "seconds", "load", "compute", "exchange"),
    *("run", "delay", "helpers", "faults", "read", "steal", "throttled"),
)

Row = Sequence["Stretch"]  # one of each rank, by rank


@dataclass(frozen=True)
class Stretch:
    """One rank in a stretch of steps; times are sums over the steps, in seconds."""

    rank: int
    host: str
    machine: str  # the same for containers that share cores
    process: int
    leaves: int  # of the rank, in each step
    steps: int
    seconds: float
    load: float  # loading and augmenting
    compute: float  # in the network, forward and backward
    exchange: float  # waiting included
    usage: Usage

    @classmethod
    def of_steps(cls, steps: Sequence[StepDone], rank: int, leaves: int, usage: Usage) -> "Stretch":
        """Return the stretch of ``steps`` that this process, ``rank``, has taken with ``leaves`` in each of them."""
        return cls(
            rank=rank,
            host=os.uname().nodename,
            machine=machine(),
            process=os.getpid(),
            leaves=leaves,
            steps=len(steps),
            seconds=sum(step.seconds for step in steps),
            load=sum(step.load_seconds for step in steps),
            compute=sum(step.compute_seconds for step in steps),
            exchange=sum(step.exchange_seconds for step in steps),
            usage=usage,
        )

    @classmethod
    def of(cls, facts: dict[str, Any]) -> "Stretch":
        """Return the stretch whose ``asdict`` is ``facts``."""
        return cls(**facts | {"usage": Usage(**facts["usage"])})

    @property
    def leaf(self) -> float:
        """Seconds to load and compute a leaf."""
        return (self.load + self.compute) / (self.steps * self.leaves)

    @property
    def loaded(self) -> float:
        """Seconds to load and augment a leaf."""
        return self.load / (self.steps * self.leaves)

    @property
    def delayed(self) -> float:
        """Seconds of a leaf in which the rank waited for its core."""
        return self.usage.delayed * self.leaf


@dataclass(frozen=True)
class Cause:
    """Why a rank is slow: a word for programs, and for people the end of a sentence."""

    word: str
    text: str


def add_up(parts: Iterable[Any]) -> Any:
    """Return one stretch (or usage) for several in a row: sums of the times and counts, the last of all else."""
    parts = list(parts)
    last = parts[-1]
    sums = {name: sum(getattr(part, name) for part in parts) for name in SUMS if hasattr(last, name)}
    if isinstance(last, Stretch):
        return replace(last, **sums, usage=add_up(part.usage for part in parts))
    return replace(last, **sums, neighbour=next(filter(None, (part.neighbour for part in reversed(parts))), ""))


def usual(row: Row, rank: int, figure: str) -> float:
    """Return the median of a figure of all ranks but ``rank``."""
    return median(getattr(stretch, figure) for stretch in row if stretch.rank != rank)


def crowds(row: Row) -> list[list[int]]:
    """Return the groups of ranks that may run on fewer cores than they are, and wait for each other."""
    cores = [(stretch.machine, frozenset(listed(stretch.usage.cores))) for stretch in row]
    found = []
    for here, allowed in dict.fromkeys(cores):
        group = [rank for rank, (other, own) in enumerate(cores) if other == here and own <= allowed]
        if len(group) > len(allowed) and all(row[rank].usage.delayed > CROWDED for rank in group):
            found.append(group)
    return found


def intruders(row: Row) -> set[int]:
    """Return the ranks whose BLAS threads keep other ranks off cores that both may use: they are too many for these."""
    cores, found = [listed(stretch.usage.cores) for stretch in row], set()
    for stretch in filter(helped, row):
        near = [o for o in row if o.machine == stretch.machine and cores[o.rank] & cores[stretch.rank]]
        crowded = sum(o.usage.threads for o in near) > len(set().union(*(cores[o.rank] for o in near)))
        if crowded and any(o.usage.delayed > CROWDED for o in near if o is not stretch):
            found.add(stretch.rank)
    return found


def helped(stretch: Stretch) -> bool:
    """Whether the rank computes with more than one BLAS thread."""
    return stretch.usage.threads > 1 and stretch.usage.helpers > HELPING * stretch.usage.seconds


def listed(text: str) -> set[int]:
    """Return the numbers of "0-3,8"."""
    ends = [part.split("-") for part in text.split(",") if part]
    return {number for first, *last in ends for number in range(int(first), int((last or [first])[0]) + 1)}


def find_cause(row: Row, rank: int) -> Cause:
    """Return why ``rank`` needs longer for a leaf than the others, as far as the figures of all ranks tell."""
    return next(_causes(row, rank))


def _causes(row: Row, rank: int) -> Iterator[Cause]:
    """Yield the causes that apply, the most certain ones first, and one that always may."""
    own, others = row[rank], [stretch for stretch in row if stretch.rank != rank]
    use, here = own.usage, [stretch for stretch in row if stretch.machine == own.machine]
    excess = own.leaf - usual(row, rank, "leaf")
    delayed = own.delayed - usual(row, rank, "delayed") > excess / 2
    for group in crowds(row):
        if rank in group:
            names = f"ranks {ranges(group)} share core{'s' * (not use.cores.isdecimal())} {use.cores}"
            yield Cause("shared core", f"{names}: bind each rank to a core of its own, or start fewer")
    for other in here:
        if helped(other) and (other is own or delayed):
            who = f"{'it' if other is own else f'rank {other.rank}'} computes with {other.usage.threads} BLAS threads"
            yield Cause("BLAS threads", f"{who}: set OPENBLAS_NUM_THREADS=1")
    if use.faults > PAGING * use.seconds:
        yield Cause("memory", f"its memory is too small: {use.faults} pages were read back from the disk")
    share = usual(row, rank, "loaded") / usual(row, rank, "leaf")  # a slow core slows loading in this proportion
    if own.loaded - usual(row, rank, "loaded") > excess * (1 + share) / 2:
        read = f", {use.read / 2**20:.0f} MiB read from the disk" if use.read > 2**20 else ""
        yield Cause("load", f"it loads its images slowly: {1e3 * own.loaded:.2f} ms of each leaf{read}")
    if delayed and use.throttled > LIMITED * use.seconds:
        yield Cause("CPU limit", "the CPU limit of its container or control group stops it: raise it")
    if delayed:
        who = f": {use.neighbour}" if use.neighbour else ""
        yield Cause("other process", f"another process uses its core{who}")
    if use.steal > STOLEN * use.seconds:
        yield Cause("stolen time", f"the hypervisor gives its core away {use.steal / use.seconds:.0%} of the time")
    kernel, _ = Counter(other.usage.kernel for other in others).most_common(1)[0]
    if use.kernel != kernel:
        yield Cause("BLAS kernel", f"its BLAS has the kernel {use.kernel}, that of the others {kernel}")
    mhz = median(other.usage.mhz for other in others)
    if use.mhz < SLOWER * mhz:
        yield Cause("frequency", f"its core runs at {use.mhz:.0f} MHz, those of the others at {mhz:.0f} MHz")
    yield Cause("slower core", "its core is slower: lower frequency, or a neighbour on the same physical core")
