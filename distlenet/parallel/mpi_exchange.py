"""The exchange of a training step over MPI: the leaves of all ranks are added up in the order of the tree.

``stages.py`` decides who meets whom; here are the messages. In a stage, the owner of a part sends it to its new owners:
of each node of the tree that its group has left, their share. A new owner does the additions that the larger group can
do. On the way back, it sends its share of the total to the rank that it got the nodes from. Messages are sent from and
received into the final arrays, without packing.

The requests are persistent: made once and started again in each step. This saves their set-up, and keeps them valid
when a rank is lost: Open MPI ends the job if an answer arrives for an invalid request.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from mpi4py import MPI

from distlenet.parallel.communicator import Span, untimed
from distlenet.parallel.stages import Group, Part, Stage, stages, whole
from distlenet.parallel.tree import additions_within, nodes_within, owned_shards

Rows = dict[int, np.ndarray]  # values of tree nodes, by their first shard
Sum = tuple[np.ndarray, np.ndarray, np.ndarray]  # left and right operand, and where their sum goes


@dataclass
class Round:
    """One stage, there or back: messages to start, messages to wait for, and sums to do then."""

    sends: list[MPI.Prequest] = field(default_factory=list)
    awaited: list[MPI.Prequest] = field(default_factory=list)
    sums: list[Sum] = field(default_factory=list)


def wait_all(requests: Sequence[MPI.Prequest]) -> None:
    """Wait until all ``requests`` are complete; raises MPI.Exception if one failed.

    The statuses are needed: without them, Open MPI 5.0.11 reports no error if it already knew that the sender was dead
    or the communicator revoked. The receive buffer then still holds the values of the step before.
    """
    MPI.Request.Waitall(requests, [MPI.Status() for _ in requests])


class Exchange:
    """The sum of all ranks' ``leaves`` (owned shards, length) float32; ``hosts`` are those of the ranks."""

    def __init__(self, comm: MPI.Comm, hosts: Sequence[str], shards: int, leaves: np.ndarray) -> None:
        self.leaves, self.shards = leaves, shards
        self._comm, self._rank = comm, comm.rank
        self._runs = [owned_shards(rank, comm.size, shards) for rank in range(comm.size)]
        self._tags = Counter[tuple[int, int]]()  # messages so far, by sender and receiver: both count alike
        own = self._runs[self._rank]
        rows: Rows = dict(zip(own, leaves, strict=True))
        self._local = [(rows[step.left], rows[step.right]) for step in additions_within(own, shards)]
        self._total = np.empty(leaves.shape[1], np.float32) if comm.size > 1 else leaves[0]
        held = {whole(self._rank): {node: rows[node] for node in nodes_within(own, shards)}}
        there, back = [], []
        for stage in stages(self._rank, hosts):
            gathering, handing_out, held = self._meet(stage, held)
            there.append(gathering)
            back.append(handing_out)
        self._rounds = there + back[::-1]
        self._receives = [request for each in self._rounds for request in each.awaited]
        self._sends = [request for each in self._rounds for request in each.sends]
        if self._rounds:  # nothing that is sent changes before the end
            self._rounds[-1].awaited += self._sends

    def free(self) -> None:
        """Free the requests, as MPI requires before it is finalised."""
        for request in self._receives + self._sends:
            request.Free()

    def add_local(self) -> None:
        """Do the additions that this rank can do alone, in place."""
        for left, right in self._local:
            np.add(left, right, left)

    def run(self, span: Span = untimed) -> np.ndarray:
        """Exchange and add the leaves, after ``add_local``; returns the total (length,), valid until the next call."""
        MPI.Prequest.Startall(self._receives)
        for each in self._rounds:
            with span("send"):
                MPI.Prequest.Startall(each.sends)
            with span("wait"):
                wait_all(each.awaited)
            with span("add"):
                for left, right, out in each.sums:
                    np.add(left, right, out)
        return self._total

    def _meet(self, stage: Stage, held: dict[Part, Rows]) -> tuple[Round, Round, dict[Part, Rows]]:
        """Prepare a stage: return its rounds there and back, and the nodes of this rank's parts after it.

        ``held`` are the nodes of its parts before it.
        """
        there, back, new = Round(), Round(), defaultdict[Part, Rows](dict)
        for member, old, part in stage.transfers():
            total = self._total[part.of(self._total.size)]
            if self._rank not in (old.rank, part.rank) or not total.size:
                continue
            if old.rank == part.rank:
                new[part] |= self._cut(held[old], old, part)
            elif part.rank == self._rank:
                rows = {node: np.empty_like(total) for node in self._nodes(member)}
                there.awaited += [self._receive(row, old.rank) for row in rows.values()]
                back.sends.append(self._send(total, old.rank))
                new[part] |= rows
            else:
                there.sends += [self._send(row, part.rank) for row in self._cut(held[old], old, part).values()]
                back.awaited.append(self._receive(total, part.rank))
        for part, rows in new.items():
            there.sums += self._sums(stage, part, rows)
        left = self._nodes(stage.group)
        return there, back, {part: {node: rows[node] for node in left} for part, rows in new.items()}

    def _sums(self, stage: Stage, part: Part, rows: Rows) -> list[Sum]:
        """Return the additions that the group can do, but none of its members could."""
        steps = additions_within(self._shards_of(stage.group), self.shards)
        sums = [(rows[step.left], rows[step.right], rows[step.left]) for step in steps if step.right in rows]
        if len(stage.group.ranks) == len(self._runs):  # the last addition gives the total
            left, right, _ = sums[-1]
            sums[-1] = left, right, self._total[part.of(self._total.size)]
        return sums

    def _shards_of(self, group: Group) -> range:
        return range(self._runs[group.ranks.start].start, self._runs[group.ranks.stop - 1].stop)

    def _nodes(self, group: Group) -> list[int]:
        return nodes_within(self._shards_of(group), self.shards)

    def _cut(self, rows: Rows, old: Part, part: Part) -> Rows:
        """Return views of ``rows``, which are those of ``old``, for the smaller ``part``."""
        start, inner = old.of(self._total.size).start, part.of(self._total.size)
        return {node: row[inner.start - start : inner.stop - start] for node, row in rows.items()}

    def _send(self, array: np.ndarray, peer: int) -> MPI.Prequest:
        return self._comm.Send_init(array, peer, self._tag(self._rank, peer))

    def _receive(self, array: np.ndarray, peer: int) -> MPI.Prequest:
        return self._comm.Recv_init(array, peer, self._tag(peer, self._rank))

    def _tag(self, source: int, target: int) -> int:
        self._tags[source, target] += 1
        return self._tags[source, target]
