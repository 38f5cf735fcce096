"""The reduction tree, with many pretend ranks in one process."""

import numpy as np
import pytest

from distlenet.parallel import Serial, owned_shards
from distlenet.parallel.tree import Tree, additions

LENGTH = 257
SHARDS = range(1, 18)


def wild(shards: int, seed: int) -> np.ndarray:
    """Return leaves (shards, LENGTH) float32 whose sum depends on the order: magnitudes from 1e-20 to 1e20."""
    random = np.random.default_rng([shards, seed])
    signs = random.choice([-1, 1], (shards, LENGTH))
    return (signs * 10 ** random.uniform(-20, 20, (shards, LENGTH))).astype(np.float32)


def close(shards: int, seed: int) -> np.ndarray:
    """Return leaves (shards, LENGTH) float32 of similar magnitude, so that nearly every addition rounds."""
    return np.random.default_rng([shards, seed, 1]).standard_normal((shards, LENGTH)).astype(np.float32)


def node_sum(leaves: np.ndarray, height: int, index: int) -> np.ndarray:
    """Return a node by its definition: node (h, k) is its left plus its right child, or its left child alone."""
    if height == 0:
        return leaves[index].copy()
    left = node_sum(leaves, height - 1, 2 * index)
    if (2 * index + 1) << (height - 1) >= len(leaves):
        return left
    return left + node_sum(leaves, height - 1, 2 * index + 1)


def reduce_on(size: int, leaves: np.ndarray) -> np.ndarray:
    """Reduce as ``size`` ranks do: first each rank's own shards, then each chunk on its owner."""
    shards = len(leaves)
    tree = Tree(size, shards)
    sent = {}
    for rank in range(size):
        run = owned_shards(rank, size, shards)
        mine = leaves[run.start : run.stop].copy()
        tree.add_local(rank, mine)
        sent |= {node: mine[node - run.start] for node in tree.nodes[rank]}
    chunks = []
    for owner in range(size):
        chunk = slice(owner * LENGTH // size, (owner + 1) * LENGTH // size)
        chunks.append(tree.add_shared({node: row[chunk].copy() for node, row in sent.items()}))
    return np.concatenate(chunks)


@pytest.mark.parametrize("shards", SHARDS)
@pytest.mark.parametrize("make", [wild, close])
def test_same_bits_on_every_number_of_ranks(shards, make):
    leaves = make(shards, seed=1)
    with np.errstate(all="ignore"):
        expected = node_sum(leaves, (shards - 1).bit_length(), 0)
        alone = Serial().allreduce_leaves(leaves.copy(), shards)
        assert alone.tobytes() == expected.tobytes()
        for size in range(1, shards + 1):
            assert reduce_on(size, leaves).tobytes() == expected.tobytes(), f"{size} ranks"


def test_the_order_matters_to_these_leaves():
    # otherwise the test above proves nothing
    leaves = close(11, seed=1)
    straight = leaves[0].copy()
    for leaf in leaves[1:]:
        straight += leaf
    assert straight.tobytes() != Serial().allreduce_leaves(leaves, 11).tobytes()


@pytest.mark.parametrize("shards", SHARDS)
def test_each_addition_is_done_exactly_once(shards):
    whole = additions(shards)
    assert len(whole) == shards - 1
    assert sorted(step.right for step in whole) == list(range(1, shards))
    for size in range(1, shards + 1):
        tree = Tree(size, shards)
        done = [step for steps in tree.local for step in steps] + tree.shared
        assert sorted(done, key=whole.index) == whole
        assert len(done) == len(whole)


@pytest.mark.parametrize("shards", SHARDS)
def test_a_rank_sends_few_nodes(shards):
    for size in range(1, shards + 1):
        for nodes, run in zip(Tree(size, shards).nodes, Tree(size, shards).runs, strict=True):
            assert set(nodes) <= set(run)
            assert len(nodes) <= 2 * max(1, len(run).bit_length())


@pytest.mark.parametrize("shards", SHARDS)
def test_shards_are_divided_evenly(shards):
    for size in range(1, shards + 1):
        runs = [owned_shards(rank, size, shards) for rank in range(size)]
        assert [shard for run in runs for shard in run] == list(range(shards))
        assert max(map(len, runs)) - min(map(len, runs)) <= 1


def test_an_empty_leaf_is_added_like_any_other():
    leaves = close(5, seed=2)
    leaves[3] = 0
    expected = Serial().allreduce_leaves(leaves.copy(), 5)
    for size in range(1, 6):
        assert reduce_on(size, leaves).tobytes() == expected.tobytes()
