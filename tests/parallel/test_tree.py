"""The reduction tree: its order of additions, and how it is divided among runs of shards."""

import numpy as np
import pytest

from distlenet.parallel import Serial, owned_shards
from distlenet.parallel.tree import additions, additions_within, nodes_within

LENGTH = 257
SHARDS = [*range(1, 18), 30, 64]


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


@pytest.mark.parametrize("shards", SHARDS)
@pytest.mark.parametrize("make", [wild, close])
def test_one_process_adds_as_defined(shards, make):
    leaves = make(shards, seed=1)
    with np.errstate(all="ignore"):
        expected = node_sum(leaves, (shards - 1).bit_length(), 0)
        assert Serial().allreduce_leaves(leaves, shards).tobytes() == expected.tobytes()


def test_the_order_matters_to_these_leaves():
    # otherwise the tests of the bits prove nothing
    leaves = close(11, seed=1)
    straight = leaves[0].copy()
    for leaf in leaves[1:]:
        straight += leaf
    assert straight.tobytes() != Serial().allreduce_leaves(leaves, 11).tobytes()


@pytest.mark.parametrize("shards", SHARDS)
def test_each_shard_is_added_exactly_once(shards):
    assert sorted(step.right for step in additions(shards)) == list(range(1, shards))


@pytest.mark.parametrize("shards", SHARDS)
def test_a_run_of_shards_leaves_few_nodes(shards):
    for start in range(shards):
        for stop in range(start + 1, shards + 1):
            run, steps = range(start, stop), additions_within(range(start, stop), shards)
            nodes = nodes_within(run, shards)
            assert nodes == sorted(set(run) - {step.right for step in steps})
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
    assert Serial().allreduce_leaves(leaves.copy(), 5).tobytes() == node_sum(leaves, 3, 0).tobytes()
