import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from nn import reference

from distlenet.nn.split import merged, picture_size, plain, windows

QUICK = settings(derandomize=True, deadline=None, max_examples=150)
PHASES = st.sampled_from([(1, 1), (1, 2), (2, 1), (2, 2), (2, 4), (3, 3), (4, 2)])


def picture(channels, rows, columns, n):
    return np.arange(channels * rows * columns * n, dtype=np.float32).reshape(channels, rows, columns, n) + 1


def test_split_follows_its_definition():
    x = picture(2, 6, 8, 3)
    s = reference.split(x, (2, 4))
    assert s.shape == (2, 4, 2, 3, 2, 3)
    for row in range(6):
        for column in range(8):
            np.testing.assert_array_equal(s[row % 2, column % 4, :, row // 2, column // 4], x[:, row, column])
    np.testing.assert_array_equal(reference.join(s), x)


def test_plain_is_a_view_split_by_one():
    x = picture(2, 3, 4, 5)
    assert plain(x).shape == (1, 1, 2, 3, 4, 5)
    assert np.shares_memory(plain(x), x)


@QUICK
@given(phases=PHASES, tall=st.integers(1, 3), wide=st.integers(1, 3), n=st.sampled_from([1, 3]))
def test_merging_restores_the_plain_picture(phases, tall, wide, n):
    x = picture(2, phases[0] * tall, phases[1] * wide, n)
    s = reference.split(x, phases)
    assert picture_size(s) == x.shape[1:3]
    found = merged(s, np.full((1, 1, *x.shape), np.nan, np.float32))
    np.testing.assert_array_equal(found, x[None, None])
    assert np.shares_memory(merged(plain(x), None), x)  # nothing to copy


@QUICK
@given(
    inner=PHASES,
    outer=PHASES,
    tall=st.integers(1, 4),
    wide=st.integers(1, 4),
    top=st.integers(0, 5),
    left=st.integers(0, 5),
    below=st.integers(0, 3),
)
def test_windows_copy_any_split_into_any_other_and_back(inner, outer, tall, wide, top, left, below):
    x = picture(2, inner[0] * tall, inner[1] * wide, 2)
    small = reference.split(x, inner)
    rows = -(-(top + x.shape[1] + below) // outer[0])
    columns = -(-(left + x.shape[2] + below) // outer[1])
    large = np.zeros((*outer, 2, rows, columns, 2), np.float32)
    expected = np.zeros((2, rows * outer[0], columns * outer[1], 2), np.float32)
    expected[:, top : top + x.shape[1], left : left + x.shape[2]] = x

    for source, target in windows(small, large, top, left):
        target[...] += source  # adding also shows a place written twice
    np.testing.assert_array_equal(reference.join(large), expected)

    back = np.zeros_like(small)
    for target, source in windows(back, large, top, left):
        target[...] += source
    np.testing.assert_array_equal(back, small)
