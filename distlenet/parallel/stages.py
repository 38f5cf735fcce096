"""The stages of an exchange: which ranks meet when, and which part of the vector each of them then owns.

At first, each rank is a group of its own and owns the whole vector of its shards' sums. In each stage, consecutive
groups join: the ranks that own the same part of the vector, one of each group, divide it among themselves, and each
adds up its share for the larger group. After the last stage all ranks are one group, and each owns a part of the total.
Then the same stages run backwards and hand out the total.

    4 ranks on 2 hosts        rank 0   rank 1     rank 2   rank 3
    own at first              1234     1234       1234     1234         quarters of the vector, of the rank's shards
    after the first stage     12         34       12         34         of the sum of the host's shards
    after the second stage    1          3         2          4         of the total

A fixed rule of the number of ranks and their hosts chooses the stages, never a measured time:

    directly   up to 8 ranks join in one stage
    by fours   more of them join four at a time, again and again: 64 ranks in 3 stages
    by host    the ranks of each host join first, then the hosts: less goes through the network

The stages decide who does an addition; the tree decides its operands and their order: see ``tree.py``.
"""

from bisect import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby, pairwise

DIRECT, FEW = 8, 4  # up to DIRECT groups join at once; if there are more, FEW at a time


@dataclass(frozen=True)
class Part:
    """The part of the vector that ``rank`` owns; ``start`` and ``stop`` are shares of the vector's length, 0 to 1."""

    start: Fraction
    stop: Fraction
    rank: int

    def of(self, length: int) -> slice:
        """Return the elements of a vector of ``length``."""
        return slice(int(self.start * length), int(self.stop * length))


def whole(rank: int) -> Part:
    """Return the whole vector, as the part of ``rank``."""
    return Part(Fraction(0), Fraction(1), rank)


@dataclass(frozen=True)
class Group:
    """Consecutive ranks that have added up their shards; the ``parts``, in order, are the whole vector."""

    ranks: range
    parts: tuple[Part, ...]

    def part_at(self, start: Fraction) -> Part:
        """Return the part that begins at or before ``start`` and ends after it."""
        return self.parts[bisect(self.parts, start, key=lambda part: part.start) - 1]


@dataclass(frozen=True)
class Stage:
    """``members`` join to ``group``."""

    members: list[Group]
    group: Group

    def transfers(self) -> Iterator[tuple[Group, Part, Part]]:
        """Yield each member, each of its parts, and each part of the group that this part is divided into."""
        for part in self.group.parts:
            for member in self.members:
                yield member, member.part_at(part.start), part


def join(members: Sequence[Group]) -> Group:
    """Return the group of all ``members``: of each part of the vector, each member gets an equal share.

    Members of different sizes have different parts; the vector is divided at the edges of all of them.
    """
    if len(members) == 1:
        return members[0]
    edges = sorted({part.start for member in members for part in member.parts})
    parts = []
    for start, stop in pairwise([*edges, Fraction(1)]):
        share = (stop - start) / len(members)
        owners = [member.part_at(start).rank for member in members]
        parts += [Part(start + place * share, start + (place + 1) * share, rank) for place, rank in enumerate(owners)]
    return Group(range(members[0].ranks.start, members[-1].ranks.stop), tuple(parts))


def levels(hosts: Sequence[str]) -> list[list[Group]]:
    """Return all groups at first and after each stage, for ranks on these ``hosts``.

    Neighbours on one host count as its ranks; ranks dealt out to the hosts in turn do not join by host.
    """
    groups = [Group(range(rank, rank + 1), (whole(rank),)) for rank in range(len(hosts))]
    found = [groups]
    by_host = [[groups[rank] for rank, _ in ranks] for _, ranks in groupby(enumerate(hosts), key=lambda item: item[1])]
    found += _join_all(by_host)
    return found + _join_all([found[-1]])


def _join_all(teams: list[list[Group]]) -> list[list[Group]]:
    """Join the groups of each team until only one is left; return all groups after each stage."""
    found, largest = [], max(map(len, teams))
    few = largest if largest <= DIRECT else FEW
    while max(map(len, teams)) > 1:
        teams = [[join(team[place : place + few]) for place in range(0, len(team), few)] for team in teams]
        found.append([group for team in teams for group in team])
    return found


def stages(rank: int, hosts: Sequence[str]) -> list[Stage]:
    """Return the stages in which ``rank`` meets others."""
    found = []
    for before, after in pairwise(levels(hosts)):
        group = next(group for group in after if rank in group.ranks)
        members = [member for member in before if member.ranks.start in group.ranks]
        if len(members) > 1:
            found.append(Stage(members, group))
    return found
