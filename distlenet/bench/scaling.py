"""A cost model of a training step on P ranks, for machines that are not at hand. See SCALING.md.

A step is the leaves of the busiest rank one after the other, its local additions, the exchange, the update:

    step     = fixed + leaves * (leaf_fixed + image * leaf + addition) + exchange
    exchange = the sum over its stages of
               2 latency + overhead * messages + max(copy * bytes, bytes of the host / bandwidth)

``messages`` and ``bytes`` are those that one rank sends and receives, there and back.
"""

from dataclasses import dataclass, replace
from functools import cache

from distlenet.parallel.stages import stages
from distlenet.parallel.tree import nodes_within, owned_shards

FLOATS = 61_714  # about the size of LeNet-5 with the bus's tail: 61,706 + 8


@dataclass(frozen=True)
class Compute:
    """One core, in seconds."""

    fixed: float  # per step: the update and the checks
    leaf: float  # per leaf of any size: gradients of the size of the parameters, calls
    image: float  # per image in a leaf
    addition: float  # per addition of two gradients

    def step(self, leaves: int, leaf: float, additions: int) -> float:
        """Return the time of ``leaves`` leaves of ``leaf`` images, ``additions`` additions and the update."""
        return self.fixed + leaves * (self.leaf + self.image * leaf) + additions * self.addition


@dataclass(frozen=True)
class Transport:
    """The cost of messages over one kind of connection, in seconds."""

    latency: float  # per stage, there or back: from the last message sent to its arrival
    overhead: float  # per message, once for its sender and once for its receiver
    copy: float  # per byte sent or received: the processor's work
    bandwidth: float = float("inf")  # bytes per second out of a host, for all its ranks together


# Fitted on two cores of an AMD EPYC (Zen 4), Open MPI 5.0.11: SCALING.md has the commands and the errors
COMPUTE = Compute(fixed=127.8e-6, leaf=263.7e-6, image=30.3e-6, addition=6.3e-6)
SHARED_MEMORY = Transport(latency=1.46e-6, overhead=0.42e-6, copy=0.089e-9)
TCP = Transport(latency=4.37e-6, overhead=3.80e-6, copy=0.182e-9)
WIRES = {"1 Gbit/s": (1e9, 25e-6), "10 Gbit/s": (10e9, 10e-6), "100 Gbit/s": (100e9, 5e-6)}  # bits/s, assumed latency
PAYLOAD = 0.94  # share of Ethernet's bits that carry the messages


def wire(name: str, tcp: Transport = TCP) -> Transport:
    """Return ``tcp`` over a real network: the measured software, a wire's bandwidth and its assumed latency."""
    bits, latency = WIRES[name]
    return replace(tcp, latency=tcp.latency + latency, bandwidth=PAYLOAD * bits / 8)


@dataclass(frozen=True)
class Traffic:
    """The traffic of one rank in a stage of an exchange, there and back, and that of its host."""

    messages: float  # sent and received
    moved: float  # bytes sent and received
    host: float = 0.0  # bytes out of the host, if the stage joins hosts

    def time(self, by: Transport) -> float:
        """Return the time over ``by``; a rank copies while the wire transmits."""
        return 2 * by.latency + by.overhead * self.messages + max(by.copy * self.moved, self.host / by.bandwidth)


def nodes(run: range, shards: int) -> int:
    """Return how many tree nodes a rank that owns ``run`` of ``shards`` has left after its local additions."""
    return len(nodes_within(run, shards))


@cache
def traffic(ranks: int, per_host: int, shards: int, floats: int = FLOATS) -> list[Traffic]:
    """Return the traffic of rank 0 in each stage of an exchange; ``per_host`` consecutive ranks share a host."""
    found = []
    for stage in stages(0, [str(rank // per_host) for rank in range(ranks)]):
        messages, moved = 0, 0.0
        for member, old, part in stage.transfers():
            ends = {old.rank, part.rank}
            if 0 in ends and len(ends) > 1:
                first, last = (owned_shards(rank, ranks, shards) for rank in (member.ranks[0], member.ranks[-1]))
                passed = nodes(range(first.start, last.stop), shards) + 1  # and a sum back
                messages += passed
                moved += passed * 4 * floats * float(part.stop - part.start)
        joins_hosts = len(stage.group.ranks) > per_host
        found.append(Traffic(messages, moved, min(per_host, ranks) * moved / 2 if joins_hosts else 0.0))
    return found


@dataclass(frozen=True)
class Plan:
    """A number of ranks, shards and images per step."""

    ranks: int
    shards: int
    batch: int
    per_host: int = 1

    @property
    def leaves(self) -> int:
        """Return the number of leaves of the busiest rank."""
        return -(-self.shards // self.ranks)


def computing(plan: Plan, by: Compute = COMPUTE, cores: int | None = None) -> float:
    """Return the time of a step without its exchange; ranks take turns if there are fewer ``cores``."""
    own = plan.leaves - nodes(range(plan.leaves), plan.shards)
    alone = by.step(plan.leaves, plan.batch / plan.shards, own)
    return alone * max(1.0, plan.ranks / cores) if cores else alone


def exchanging(plan: Plan, far: Transport, near: Transport = SHARED_MEMORY, floats: int = FLOATS) -> float:
    """Return the time of the exchange, ``near`` within hosts and ``far`` between them."""
    return sum(
        each.time(far if each.host else near) for each in traffic(plan.ranks, plan.per_host, plan.shards, floats)
    )


def step_time(plan: Plan, far: Transport, compute: Compute = COMPUTE) -> float:
    """Return the time of a training step on hosts joined by ``far``."""
    return computing(plan, compute) + exchanging(plan, far)


def efficiency(plan: Plan, far: Transport, compute: Compute = COMPUTE) -> float:
    """Return images/s per rank, divided by those of a single rank with leaves of 32 and a batch of 256."""
    alone = 256 / computing(Plan(1, 8, 256), compute)
    return plan.batch / step_time(plan, far, compute) / plan.ranks / alone
