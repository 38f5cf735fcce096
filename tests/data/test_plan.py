import tracemalloc
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distlenet.arithmetic import NATIVE
from distlenet.data.plan import NOISE, ORDER, Plan

QUICK = settings(derandomize=True, deadline=None, max_examples=150)


@st.composite
def plans(draw):
    """Draw a plan with shards longer or shorter than a leaf, of unequal lengths, or empty."""
    shards, leaf = draw(st.integers(1, 9)), draw(st.integers(1, 40))
    return Plan(draw(st.integers(1, 400)), shards, shards * leaf, draw(st.integers(0, 2**63 - 1)))


def epoch_of(plan, epoch, shard):
    return [plan.rows(epoch, step, shard) for step in range(plan.steps_per_epoch)]


def order_of(plan, epoch, shard):
    return np.concatenate(epoch_of(plan, epoch, shard)).tolist()


@QUICK
@given(plan=plans(), epoch=st.integers(0, 1000), block=st.sampled_from([1, 7, 16, 8192]))
def test_every_row_is_used_exactly_once_per_epoch(plan, epoch, block):
    seen, plan = Counter(), replace(plan, block=block)
    for shard in range(plan.shards):
        start, stop = plan.bounds(shard)
        leaves = epoch_of(plan, epoch, shard)
        lengths = [len(rows) for rows in leaves]
        assert lengths == [max(0, min(plan.leaf, stop - start - step * plan.leaf)) for step in range(len(leaves))]
        assert not len(plan.rows(epoch, plan.steps_per_epoch, shard))
        seen.update(start + int(row) for rows in leaves for row in rows)
    assert seen == Counter(range(plan.samples))


@QUICK
@given(plan=plans(), epoch=st.integers(0, 5))
def test_count_is_the_sum_of_the_leaves(plan, epoch):
    for step in range(plan.steps_per_epoch + 2):
        assert plan.count(step) == sum(len(plan.rows(epoch, step, shard)) for shard in range(plan.shards))
    assert plan.count(plan.steps_per_epoch - 1) > 0  # no step without an image
    assert plan.count(plan.steps_per_epoch) == 0


@QUICK
@given(plan=plans())
def test_shards_are_adjacent_and_nearly_equal_in_length(plan):
    bounds = [plan.bounds(shard) for shard in range(plan.shards)]
    assert bounds[0][0] == 0 and bounds[-1][1] == plan.samples
    assert all(stop == start for (_, stop), (start, _) in pairwise(bounds))
    lengths = [stop - start for start, stop in bounds]
    assert max(lengths) - min(lengths) <= 1


@QUICK
@given(plan=plans(), asked=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(0, 8)), max_size=30))
def test_rows_do_not_depend_on_earlier_requests(plan, asked):
    for epoch, step, shard in asked:
        fresh = Plan(plan.samples, plan.shards, plan.batch_size, plan.seed)
        found = plan.rows(epoch, step, shard % plan.shards)
        np.testing.assert_array_equal(found, fresh.rows(epoch, step, shard % plan.shards))


@pytest.mark.parametrize("samples", [1, 31, 32, 33, 200])
def test_the_order_is_that_of_the_whole_epoch_drawn_at_once(samples):
    plan = Plan(samples, 2, 10, 1, block=16)
    for shard, (start, stop) in enumerate(map(plan.bounds, range(2))):
        random = NATIVE.stream(1, ORDER, 3, shard)
        firsts = [16 * int(block) for block in random.permutation(-(-(stop - start) // 16))]
        expected = [random.permutation(np.arange(first, min(first + 16, stop - start))) for first in firsts]
        assert order_of(plan, 3, shard) == [int(row) for rows in expected for row in rows]
        assert [plan.block_bounds(shard, block)[0] for block in plan.blocks(3, shard)] == firsts


def test_long_orders_of_many_epochs_take_the_memory_of_a_few_blocks():
    plan = Plan(2**20, 1, 2**16, 1, block=2**16)  # 8 MiB an order, 512 KiB a block
    tracemalloc.start()
    for epoch in range(4):
        for step in range(plan.steps_per_epoch):
            plan.rows(epoch, step, 0)
    kept, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 3 * 2**19 and most < 8 * 2**19


def test_epochs_shards_and_seeds_have_different_orders():
    orders = [
        tuple(order_of(Plan(800, 8, 32, seed), epoch, shard))
        for seed in (0, 1, 2**63 - 1)
        for epoch in (0, 1, 2)
        for shard in range(8)
    ]
    assert len(set(orders)) == len(orders) == 72
    assert all(sorted(order) == list(range(100)) for order in orders)


def test_order_does_not_depend_on_the_batch_size():
    assert order_of(Plan(500, 2, 20, 3), 4, 1) == order_of(Plan(500, 2, 64, 3), 4, 1)


def test_orders_show_no_pattern():
    # the position of each row, over many epochs, has the mean and spread of a uniform draw
    places = np.array([np.argsort(order_of(Plan(50, 1, 10, 9), epoch, 0)) for epoch in range(400)])
    assert abs(places.mean(axis=0) - 24.5).max() < 4 * 14.4 / 20
    assert places.std(axis=0) == pytest.approx(14.4, rel=0.2)


def test_long_shards_are_shuffled_block_by_block():
    plan, sequences = Plan(200, 2, 10, 1, block=16), set()
    for epoch in range(5):
        left, sequence = order_of(plan, epoch, 0), []
        while left:
            block = left[0] // 16
            length = min(16, 100 - block * 16)  # the last block is shorter
            rows, left = left[:length], left[length:]
            assert sorted(rows) == list(range(block * 16, block * 16 + length))
            assert length < 5 or rows != sorted(rows)
            sequence.append(block)
        assert sorted(sequence) == list(range(7))
        sequences.add(tuple(sequence))
    assert len(sequences) == 5


def test_streams_for_other_positions_and_purposes_differ():
    positions = [(0, 0), (0, 1), (1, 0), (1, 1), (0, 0, 1)]
    places = [(seed, purpose, *position) for seed in (0, 1) for purpose in (ORDER, NOISE) for position in positions]
    draws = {tuple(NATIVE.stream(*place).integers(0, 2**63, 64).tolist()) for place in places}
    assert len(draws) == len(places)
    everything = [number for draw in draws for number in draw]
    assert len(set(everything)) == len(everything)  # no stream is a shifted copy of another
    np.testing.assert_array_equal(NATIVE.stream(1, NOISE, 2, 3).random(5), NATIVE.stream(1, NOISE, 2, 3).random(5))
