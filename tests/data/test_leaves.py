import drawn
import numpy as np
import pytest

from distlenet.data.augmentation import Augmentation, Resampler
from distlenet.data.file.dataset_file import open_digit_file
from distlenet.data.leaves import Leaves
from distlenet.data.plan import Plan
from distlenet.errors import DataError

SAMPLES, SHARDS, BATCH = 103, 4, 24  # shards of 25 and 26 rows, leaves of 6: the last one has 1 or 2
NONE, SOME = Augmentation(), Augmentation(rotate=12, shift=2, zoom=0.15)


class Digits:
    """A dataset in memory that remembers which rows were read."""

    image_shape = (8, 9)

    def __init__(self, samples=SAMPLES):
        random = np.random.default_rng(0)
        self.images = random.integers(0, 256, (samples, 8, 9), dtype=np.uint8)
        self.labels = random.integers(0, 10, samples, dtype=np.uint8)
        self.reads = []

    def read(self, split, start, stop, *, verify=False):
        self.reads.append((split, start, stop, verify))
        return self.images[start:stop], self.labels[start:stop]


def leaves_of(digits, shards, augmentation=NONE, plan=None):
    return Leaves(digits, plan or Plan(SAMPLES, SHARDS, BATCH, 5), shards, augmentation, Resampler(8, 9, 0.2, 0.3))


def load(leaves, *place):
    x, labels = leaves.load(*place)
    return x.copy(), labels


@pytest.mark.parametrize(("shards", "first", "last"), [([0], 0, 25), ([1, 2], 25, 77), (range(4), 0, 103)])
def test_only_owned_rows_are_read_once_and_verified(shards, first, last):
    digits = Digits()
    leaves = leaves_of(digits, shards)
    leaves.load(0, 0, leaves.shards[0])
    assert digits.reads == [("train", first, last, True)]
    assert leaves.shards == list(shards)


@pytest.mark.parametrize("shards", [[0], [1, 2], [3], range(4)])
def test_leaves_are_the_rows_of_the_plan(shards):
    digits = Digits()
    leaves = leaves_of(digits, shards)
    plan, resampler = Plan(SAMPLES, SHARDS, BATCH, 5), Resampler(8, 9, 0.2, 0.3)
    for epoch in (0, 1):
        for step in range(plan.steps_per_epoch):
            for shard in shards:
                x, labels = load(leaves, epoch, step, shard)
                rows = plan.bounds(shard)[0] + plan.rows(epoch, step, shard)
                np.testing.assert_array_equal(x, resampler.normalize(digits.images[rows]))
                np.testing.assert_array_equal(labels, digits.labels[rows])
                assert labels.dtype == np.intp


@pytest.mark.parametrize("augmentation", [NONE, SOME], ids=["plain", "augmented"])
def test_a_leaf_has_the_same_bits_on_every_owner(augmentation):
    digits = Digits()
    everything = leaves_of(digits, range(4), augmentation)
    for shards in ([0], [1, 2], [3]):
        part = leaves_of(digits, shards, augmentation)
        for place in [(2, 3, shards[-1]), (0, 0, shards[0]), (2, 3, shards[0]), (0, 4, shards[-1])]:  # any order
            for found, expected in zip(load(part, *place), load(everything, *place), strict=True):
                np.testing.assert_array_equal(found, expected)


def test_noise_depends_on_the_position_in_the_global_batch():
    digits, plan, resampler = Digits(), Plan(SAMPLES, SHARDS, BATCH, 5), Resampler(8, 9, 0.2, 0.3)
    leaves = leaves_of(digits, range(4), SOME)
    for step in (0, 4):  # the last leaves are short
        noise = SOME.noise(5, 1, step, BATCH)
        for shard in range(4):
            rows = plan.rows(1, step, shard)
            maps = SOME.maps(noise[shard * 6 : shard * 6 + len(rows)], 8, 9)
            expected = resampler.warp(digits.images[plan.bounds(shard)[0] + rows], maps)
            np.testing.assert_array_equal(leaves.load(1, step, shard)[0], expected)


def test_the_same_picture_looks_different_in_every_epoch():
    plan = Plan(1, 1, 1, 5)
    leaves = leaves_of(Digits(1), [0], SOME, plan)
    assert len({load(leaves, epoch, 0, 0)[0].tobytes() for epoch in range(5)}) == 5


@pytest.mark.parametrize("augmentation", [NONE, SOME], ids=["plain", "augmented"])
@pytest.mark.parametrize(
    ("samples", "step", "lengths"),
    [(5, 1, [0, 0, 0, 1]), (2, 0, [0, 1])],  # shards of 1, 1, 1 and 2; shards 0 and 2 without any row
)
def test_a_shard_that_is_used_up_or_empty_gives_empty_leaves(samples, step, lengths, augmentation):
    leaves = leaves_of(Digits(samples), range(len(lengths)), augmentation, Plan(samples, 4, 4, 5))
    for shard, length in enumerate(lengths):
        x, labels = leaves.load(0, step, shard)
        assert x.shape == (1, 8, 9, length) and len(labels) == length


def test_a_damaged_file_is_refused(tmp_path):
    path, digits = tmp_path / "digits.h5", Digits()
    both = digits.images, digits.labels
    drawn.write(path, both, both)
    with open_digit_file(path) as file:
        x, labels = load(leaves_of(file, range(4)), 0, 0, 2)
    for found, expected in zip((x, labels), load(leaves_of(digits, range(4)), 0, 0, 2), strict=True):
        np.testing.assert_array_equal(found, expected)
    stored = bytearray(path.read_bytes())
    stored[stored.find(digits.images.tobytes()) + 100] ^= 1
    path.write_bytes(stored)
    with open_digit_file(path) as file, pytest.raises(DataError):
        leaves_of(file, range(4))


def test_shards_that_cannot_be_read_are_not_owned():
    digits = Digits()
    leaves = leaves_of(digits, [0])

    def damaged(*place, **options):
        raise DataError("damaged")

    digits.read = damaged
    for _ in range(2):  # a second request reads them again
        with pytest.raises(DataError, match="damaged"):
            leaves.own([0, 1])
        assert leaves.shards == []
    del digits.read
    leaves.own([0, 1])
    assert leaves.shards == [0, 1] and len(load(leaves, 0, 0, 1)[1])
