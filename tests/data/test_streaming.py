import os
import threading
import time
from dataclasses import replace

import drawn
import numpy as np
import pytest
from data.test_plan import plans
from hypothesis import given, settings
from hypothesis import strategies as st

from distlenet.data.augmentation import Augmentation, Resampler
from distlenet.data.file.dataset_file import open_digit_file
from distlenet.data.leaves import InMemory, Leaves, Streamed
from distlenet.data.plan import Plan
from distlenet.errors import DataError

ROWS, SHARDS, BATCH = 5003, 3, 30
RANDOM = np.random.default_rng(4)
IMAGES = RANDOM.integers(0, 256, (ROWS, 4, 5), dtype=np.uint8)
LABELS = RANDOM.integers(0, 10, ROWS, dtype=np.uint8)


class Digits:
    """A dataset in memory that records which rows were read, and can be slow."""

    image_shape = (4, 5)

    def __init__(self, slow=0.0):
        self.reads, self.slow = [], slow

    def read(self, split, start, stop, *, verify=False):
        time.sleep(self.slow)
        if stop > start:
            assert split == "train" and verify
            self.reads.append((start, stop))
        return IMAGES[start:stop], LABELS[start:stop]


@pytest.fixture
def path(tmp_path):
    both = IMAGES, LABELS
    return drawn.write(tmp_path / "noise.h5", both, both)


def wait_for(digits, reads):
    end = time.monotonic() + 30
    while len(digits.reads) < reads:
        assert time.monotonic() < end
        time.sleep(0.001)


def plan_of(shards=SHARDS, batch=BATCH):
    return Plan(ROWS, shards, batch, 5, block=500)  # shards of 1,667 or 1,668 rows: four blocks, one short


def same(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def epoch_of(take, plan):
    for step in range(plan.steps_per_epoch):
        take(step)


def in_memory(plan):
    return InMemory(Digits(), plan, 0, plan.samples)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(plan=plans(), block=st.sampled_from([1, 7, 16, 8192]))
def test_every_leaf_equals_the_one_in_memory(plan, block):
    plan = replace(plan, block=block)
    streamed, expected = Streamed(Digits(), plan), in_memory(plan)
    for epoch in (0, 1):
        for step in range(plan.steps_per_epoch):
            for shard in range(plan.shards):
                same(streamed.take(epoch, step, shard), expected.take(epoch, step, shard))
    streamed.close()


@settings(derandomize=True, deadline=None, max_examples=100)
@given(plan=plans(), asked=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(0, 8)), max_size=30))
def test_leaves_may_be_taken_in_any_order(plan, asked):
    plan = replace(plan, block=16)
    streamed, expected = Streamed(Digits(), plan), in_memory(plan)
    for epoch, step, shard in asked:
        same(streamed.take(epoch, step, shard % plan.shards), expected.take(epoch, step, shard % plan.shards))
    streamed.close()


def test_blocks_are_read_once_an_epoch_and_ahead_of_their_use():
    plan, digits = plan_of(), Digits()
    streamed = Streamed(digits, plan)
    for epoch in range(3):
        for step in range(plan.steps_per_epoch):
            for shard in range(SHARDS):
                streamed.take(epoch, step, shard)
                assert len(streamed.held(shard)) <= 4  # for a leaf that continues in the next block
        first = 4 * SHARDS * (epoch + 1)
        wait_for(digits, first - SHARDS * epoch)
        # each block of the epoch once, and the next epoch's first block of each shard unless it is still held
        assert len(digits.reads) <= first + SHARDS
    assert {stop - start for start, stop in digits.reads} == {500, 167, 168}


def test_the_next_block_is_requested_as_soon_as_one_is_used():
    plan = plan_of(1, 10)
    streamed, asked = Streamed(Digits(), plan), set()
    for epoch in range(2):
        for step in range(plan.steps_per_epoch):
            used = set(plan.block_of(plan.rows(epoch, step, 0)).tolist())
            assert used <= asked or (epoch, step) == (0, 0)
            streamed.take(epoch, step, 0)
            asked = set(streamed.held(0))
            assert len(used) < len(asked) <= len(used) + 2
    streamed.close()


def test_a_damaged_block_is_reported_where_it_is_used(path):
    stored = bytearray(path.read_bytes())
    stored[stored.find(IMAGES.tobytes()) + 4500 * 20] ^= 1  # in shard 2
    path.write_bytes(stored)
    plan = plan_of()
    with open_digit_file(path) as digits:
        leaves = Leaves(digits, plan, range(3), Augmentation(), Resampler(4, 5, 0.2, 0.3), memory_limit=0)
        assert leaves.streamed
        epoch_of(lambda step: [leaves.load(0, step, shard) for shard in (0, 1)], plan)
        with pytest.raises(DataError, match=r"is damaged: rows 4,000 to 4,999 of /train do not match"):
            epoch_of(lambda step: leaves.load(0, step, 2), plan)


def test_a_file_that_is_cut_off_meanwhile(path):
    plan = plan_of()
    with open_digit_file(path) as digits:
        streamed = Streamed(digits, plan)
        streamed.take(0, 0, 0)
        os.truncate(path, 3000)
        with pytest.raises(DataError, match=r"cannot read rows .* of /train in .*noise.h5: it now ends at or before"):
            epoch_of(lambda step: streamed.take(0, step, 0), plan)


def test_a_file_that_is_deleted_meanwhile_is_read_to_the_end(path):
    plan = plan_of()
    with open_digit_file(path) as digits:
        streamed, expected = Streamed(digits, plan), in_memory(plan)
        streamed.take(0, 0, 0)
        path.unlink()
        for step in range(plan.steps_per_epoch):
            same(streamed.take(0, step, 0), expected.take(0, step, 0))


@pytest.mark.parametrize(("limit", "streamed"), [(0, True), (ROWS * 21 - 1, True), (ROWS * 21, False)])
def test_shards_larger_than_the_limit_are_streamed(limit, streamed):
    plan = plan_of()
    leaves = Leaves(Digits(), plan, range(SHARDS), Augmentation(), Resampler(4, 5, 0.2, 0.3), limit)
    assert leaves.streamed == streamed
    leaves.own([1])  # a third of it
    assert leaves.streamed == (limit < 1667 * 21)


def test_after_a_change_of_shards_the_old_ones_are_not_read():
    plan, digits, others = plan_of(), Digits(slow=0.01), set(threading.enumerate())
    leaves = Leaves(digits, plan, [0], Augmentation(), Resampler(4, 5, 0.2, 0.3), 0)
    leaves.load(0, 0, 0)
    [reader] = set(threading.enumerate()) - others
    leaves.own([1, 2])
    reader.join(30)
    assert not reader.is_alive()
    np.testing.assert_array_equal(leaves.load(0, 0, 2)[1], LABELS[plan.bounds(2)[0] + plan.rows(0, 0, 2)])
    assert sum(start < plan.bounds(0)[1] for start, _ in digits.reads) <= 2
