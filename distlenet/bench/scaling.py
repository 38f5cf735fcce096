"""A cost model of a training step on P ranks, for machines that are not at hand. See SCALING.md.

A step is the leaves of the busiest rank one after the other, its local additions, the exchange, the update:

    step     = fixed + leaves * (leaf_fixed + image * leaf + addition) + exchange
    exchange = 2 latency + overhead * messages + max(copy * bytes, bytes of the host / bandwidth)

``messages`` and ``bytes`` are those that one rank sends and receives, in both phases.
"""

from dataclasses import dataclass, replace

from distlenet.parallel.tree import nodes_within, owned_shards

FLOATS = 61_714  # about the size of LeNet-5 with the bus's tail: 61,706 + 8
HIDEABLE = 0.53  # share of a leaf's time: the backward pass below the dense layers, which hold 96 % of the gradient


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

    latency: float  # per phase: from the last message sent to its arrival
    overhead: float  # per message, once for its sender and once for its receiver
    copy: float  # per byte sent or received: the processor's work
    bandwidth: float = float("inf")  # bytes per second out of a host, for all its ranks together


# Fitted on two cores of an AMD EPYC (Zen 5), Open MPI 5.0.11: SCALING.md has the commands and the errors
COMPUTE = Compute(fixed=44.7e-6, leaf=248.6e-6, image=22.6e-6, addition=4.0e-6)
SHARED_MEMORY = Transport(latency=2.22e-6, overhead=0.49e-6, copy=0.111e-9)
TCP = Transport(latency=3.08e-6, overhead=3.26e-6, copy=0.177e-9)
WIRES = {"1 Gbit/s": (1e9, 25e-6), "10 Gbit/s": (10e9, 10e-6), "100 Gbit/s": (100e9, 5e-6)}  # bits/s, assumed latency
PAYLOAD = 0.94  # share of Ethernet's bits that carry the messages


def wire(name: str, tcp: Transport = TCP) -> Transport:
    """Return ``tcp`` over a real network: the measured software, a wire's bandwidth and its assumed latency."""
    bits, latency = WIRES[name]
    return replace(tcp, latency=tcp.latency + latency, bandwidth=PAYLOAD * bits / 8)


@dataclass(frozen=True)
class Traffic:
    """The traffic of the busiest rank in both phases of an exchange, and that of its host."""

    messages: float
    sent: float  # bytes, by one rank
    host: float  # bytes out of one host

    def time(self, by: Transport, phases: int = 2) -> float:
        """Return the time over ``by``; a rank copies while the wire transmits."""
        if not self.messages:
            return 0.0
        return phases * by.latency + by.overhead * self.messages + max(by.copy * self.sent, self.host / by.bandwidth)


def direct(ranks: int, per_host: int, shards: int, floats: int = FLOATS) -> tuple[Traffic, Traffic]:
    """Return the traffic within a host and between hosts of ``parallel/mpi.py``'s algorithm: all to all, directly."""
    own = max(len(nodes_within(owned_shards(rank, ranks, shards), shards)) for rank in range(ranks))
    chunk = 4 * floats / ranks
    pairs = 2 * (own + 1)  # messages with one peer: nodes and a sum, sent and received
    near, far = min(per_host, ranks) - 1, ranks - min(per_host, ranks)
    return (
        Traffic(near * pairs, near * pairs * chunk, 0.0),
        Traffic(far * pairs, far * pairs * chunk, min(per_host, ranks) * far * (own + 1) * chunk),
    )


def halving(ranks: int, per_host: int, floats: int = FLOATS) -> tuple[Traffic, Traffic, int]:
    """Return the traffic, and the phases, of recursive halving and doubling with the sibling in the tree.

    For a power of two of ranks: neighbours first, so that every sum is a node of the tree and the bits stay.
    """
    messages, sent, distance, size, phases = [0, 0], [0.0, 0.0], 1, 4.0 * floats, 0  # within a host, between hosts
    while distance < ranks:
        size /= 2
        far = int(distance >= per_host)
        messages[far] += 4  # a half out and in, and later its sum in and out
        sent[far] += 4 * size
        phases += 2 * far
        distance *= 2
    return Traffic(messages[0], sent[0], 0.0), Traffic(messages[1], sent[1], per_host * sent[1] / 2), phases


def hierarchical(ranks: int, per_host: int, floats: int = FLOATS) -> tuple[Traffic, Traffic]:
    """Return the traffic of adding up within a host first; then ranks i of all hosts exchange their part i of it."""
    hosts = ranks // per_host
    part = 4 * floats / per_host
    near = 4 * (per_host - 1)
    far = 4 * (hosts - 1)
    return (
        Traffic(near, near * part, 0.0),
        Traffic(far, far * part / hosts, per_host * far / 2 * part / hosts),
    )


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
    own = plan.leaves - len(nodes_within(range(plan.leaves), plan.shards))
    alone = by.step(plan.leaves, plan.batch / plan.shards, own)
    return alone * max(1.0, plan.ranks / cores) if cores else alone


def exchanging(plan: Plan, far: Transport, near: Transport = SHARED_MEMORY, way: str = "direct") -> float:
    """Return the time of the exchange by ``way``: direct, halving or hierarchical."""
    if way == "halving":
        within, between, phases = halving(plan.ranks, plan.per_host)
        return within.time(near, 2 * (plan.per_host > 1)) + between.time(far, phases)
    both = (
        direct(plan.ranks, plan.per_host, plan.shards) if way == "direct" else hierarchical(plan.ranks, plan.per_host)
    )
    return both[0].time(near) + both[1].time(far)


def step_time(plan: Plan, far: Transport, compute: Compute = COMPUTE, way: str = "direct") -> float:
    """Return the time of a training step on hosts joined by ``far``."""
    return computing(plan, compute) + exchanging(plan, far, way=way)


def efficiency(plan: Plan, far: Transport, compute: Compute = COMPUTE, way: str = "direct") -> float:
    """Return images/s per rank, divided by those of a single rank with leaves of 32 and a batch of 256."""
    alone = 256 / computing(Plan(1, 8, 256), compute)
    return plan.batch / step_time(plan, far, compute, way) / plan.ranks / alone


def overlap_gain(plan: Plan, far: Transport, compute: Compute = COMPUTE) -> float:
    """Return the share of a step that overlapping the exchange with the last leaf's backward pass would save.

    Only waiting can be hidden, not the processor's work for the messages: the same core computes.
    """
    between = direct(plan.ranks, plan.per_host, plan.shards)[1]
    busy = between.messages * far.overhead + far.copy * between.sent
    waiting = max(0.0, between.time(far) - busy)
    hidden = min(waiting, HIDEABLE * (compute.leaf + compute.image * plan.batch / plan.shards))
    return hidden / step_time(plan, far, compute)
