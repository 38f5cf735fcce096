"""Who meets whom in an exchange, on every number of ranks and on hosts of any size."""

from collections import Counter
from fractions import Fraction
from itertools import pairwise

import pytest

from distlenet.parallel.stages import levels, stages

LAYOUTS = {  # hosts by rank
    **{f"{size} on one host": "a" * size for size in (*range(1, 18), 32, 64)},
    **{f"{size} on as many hosts": [str(rank) for rank in range(size)] for size in (2, 5, 9, 17)},
    **{"4 x 16": "a" * 16 + "b" * 16 + "c" * 16 + "d" * 16, "16 x 4": [str(rank // 4) for rank in range(64)]},
    **{"5, 1, 6": "a" * 5 + "b" + "c" * 6, "16, 3, 9": "a" * 16 + "b" * 3 + "c" * 9, "dealt out": "abcabcabcab"},
}


@pytest.fixture(params=LAYOUTS.values(), ids=LAYOUTS)
def hosts(request):
    return request.param


def sizes(hosts):
    """Return the sizes of the groups at first and after each stage."""
    return [[len(group.ranks) for group in level] for level in levels(hosts)]


def test_after_each_stage_the_groups_own_the_whole_vector(hosts):
    found = levels(hosts)
    for level in found:
        assert [rank for group in level for rank in group.ranks] == list(range(len(hosts)))
        for group in level:
            edges = [edge for part in group.parts for edge in (part.start, part.stop)]
            assert (edges[0], edges[-1]) == (0, 1) and edges == sorted(edges)
            assert edges[1:-1:2] == edges[2::2]
            assert {part.rank for part in group.parts} == set(group.ranks)
    assert len(found[0]) == len(hosts)
    assert len(found[-1]) == 1


def test_a_rank_owns_a_share_of_what_it_owned_before(hosts):
    for before, after in pairwise(levels(hosts)):
        owned = {(group.part_at(part.start), part) for group in before for part in group.parts}
        for group in after:
            members = [member for member in before if member.ranks.start in group.ranks]
            for part in group.parts:
                assert any(
                    old.rank == part.rank and old.start <= part.start < part.stop <= old.stop for old, _ in owned
                )
            for member in members:  # an equal share for each of the groups that join
                share = sum(part.stop - part.start for part in group.parts if part.rank in member.ranks)
                assert share == Fraction(1, len(members))


def test_a_rank_finds_its_own_stages(hosts):
    found = levels(hosts)
    for rank in {0, len(hosts) // 2, len(hosts) - 1}:
        mine = stages(rank, hosts)
        assert [stage.group for stage in mine] == [
            group for before, after in pairwise(found) for group in after if rank in group.ranks and group not in before
        ]
        for stage in mine:
            assert [other for member in stage.members for other in member.ranks] == list(stage.group.ranks)


@pytest.mark.parametrize("size", [2, 3, 5, 8])
def test_few_ranks_join_directly(size):
    assert sizes("a" * size) == [[1] * size, [size]]
    assert sizes(range(size)) == [[1] * size, [size]]


def test_many_ranks_join_by_fours():
    assert sizes("a" * 9) == [[1] * 9, [4, 4, 1], [9]]
    assert sizes("a" * 64) == [[1] * 64, [4] * 16, [16] * 4, [64]]


def test_ranks_of_a_host_join_first():
    assert sizes(LAYOUTS["5, 1, 6"]) == [[1] * 12, [5, 1, 6], [12]]
    assert sizes(LAYOUTS["4 x 16"]) == [[1] * 64, [4] * 16, [16] * 4, [64]]
    assert sizes(LAYOUTS["16 x 4"]) == [[1] * 64, [4] * 16, [16] * 4, [64]]
    assert sizes(LAYOUTS["16, 3, 9"]) == [[1] * 28, [4] * 4 + [3] + [4, 4, 1], [16, 3, 9], [28]]
    assert sizes(LAYOUTS["dealt out"]) == [[1] * 11, [4, 4, 3], [11]]


def test_little_leaves_a_host():
    sent = Counter()  # from one host to others, in vectors
    hosts = LAYOUTS["4 x 16"]
    for stage in {stage.group: stage for rank in range(64) for stage in stages(rank, hosts)}.values():
        for _, old, part in stage.transfers():
            if hosts[old.rank] != hosts[part.rank]:
                sent[hosts[old.rank]] += part.stop - part.start
    assert sent == {host: Fraction(3, 4) for host in "abcd"}  # directly it would be 16 times as much
