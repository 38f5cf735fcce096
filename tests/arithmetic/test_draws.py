"""Random draws: which word makes which number, in Python's own arithmetic; and their distributions."""

import math

import numpy as np
import pytest

from distlenet.arithmetic.draws import Draws

KEY, COUNTER = [2**63 + 5, 3], [0, 7, 1, 0]
MASK = 2**64 - 1


def draws() -> Draws:
    return Draws(KEY, COUNTER)


def philox(key: list[int], counter: list[int]) -> list[int]:
    """Return the four words of a counter: Philox4x64-10 in whole numbers, from its paper (Salmon et al. 2011)."""
    (x0, x1, x2, x3), (k0, k1) = counter, key
    for _ in range(10):
        left, right = 0xD2E7470EE14C6C93 * x0, 0xCA5A826395121157 * x2
        x0, x1, x2, x3 = (right >> 64) ^ x1 ^ k0, right & MASK, (left >> 64) ^ x3 ^ k1, left & MASK
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & MASK, (k1 + 0xBB67AE8584CAA73B) & MASK
    return [x0, x1, x2, x3]


def words(count: int) -> list[int]:
    found = []
    while len(found) < count:
        found += philox(KEY, [COUNTER[0] + 1 + len(found) // 4, *COUNTER[1:]])
    return found[:count]


def test_words_are_those_of_the_paper():
    assert draws().words(11).tolist() == words(11)
    stream = draws()
    assert [*stream.words(3).tolist(), *stream.words(5).tolist()] == words(8)  # no word is skipped


def test_uniform_numbers():
    expected = [(word >> 11) / 2**53 for word in words(6)]
    assert draws().random(6).tolist() == draws().random((2, 3)).ravel().tolist() == expected
    assert draws().random() == expected[0]
    assert draws().uniform(-2.0, 3.0, 6).tolist() == [-2.0 + 5.0 * u for u in expected]
    np.testing.assert_array_equal(draws().random(9), np.random.Generator(draws()._philox).random(9))  # as numpy has it


@pytest.mark.parametrize("count", [1, 2, 5])
def test_two_words_make_two_normal_numbers(count):
    expected, pairs = [], words(6)
    for first, second in zip(pairs[::2], pairs[1::2], strict=True):
        radius = math.sqrt(-2 * math.log(((first >> 12) + 0.5) / 2**52))
        angle = 2 * math.pi * ((second >> 11) / 2**53)
        expected += [radius * math.cos(angle), radius * math.sin(angle)]
    stream = draws()
    assert stream.standard_normal(count).tolist() == pytest.approx(expected[:count], rel=1e-14)
    assert stream.words(1)[0] == words(7)[count + count % 2]  # the second number of the last pair is not kept
    np.testing.assert_array_equal(draws().normal(3.0, 0.5, count), 3.0 + 0.5 * draws().standard_normal(count))


def test_whole_numbers_are_remainders():
    assert draws().integers(10, size=8).tolist() == [word % 10 for word in words(8)]
    assert draws().integers(-3, 4, (2, 2)).ravel().tolist() == [word % 7 - 3 for word in words(4)]
    assert draws().integers(5) == words(1)[0] % 5
    with pytest.raises(ValueError, match="low 3 and high 3: expected low < high"):
        draws().integers(3, 3)


def test_a_permutation_sorts_words():
    order = sorted(range(50), key=lambda place: (words(50)[place], place))
    assert draws().permutation(50).tolist() == order
    rows = np.arange(100, 150)
    assert draws().permutation(rows).tolist() == [100 + place for place in order]
    assert draws().permutation(0).tolist() == []


def test_equal_words_keep_their_order(monkeypatch):
    monkeypatch.setattr(Draws, "words", lambda self, count: np.array([5, 1, 5, 1, 2], np.uint64)[:count])
    assert draws().permutation(5).tolist() == [1, 3, 4, 0, 2]


def test_normal_numbers_are_normal():
    found = np.sort(draws().standard_normal(200_000))
    assert abs(found.mean()) < 0.01 and found.std() == pytest.approx(1, abs=0.01)
    below = [0.5 * (1 + math.erf(z / math.sqrt(2))) for z in (-3, -2, -1, 0, 1, 2, 3)]
    np.testing.assert_allclose(np.searchsorted(found, [-3, -2, -1, 0, 1, 2, 3]) / len(found), below, atol=0.004)
    assert 4 < found[-1] < 8.6 and -8.6 < found[0] < -4  # the largest possible one is 8.57
    assert abs(np.corrcoef(*draws().standard_normal((50_000, 2)).T)[0, 1]) < 0.02  # of a pair


def test_every_permutation_is_as_likely():
    stream, counts = draws(), {}
    for _ in range(6000):
        order = tuple(stream.permutation(3).tolist())
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 6 and all(abs(count - 1000) < 150 for count in counts.values())


def test_other_methods_are_refused_in_one_sentence():
    with pytest.raises(AttributeError, match="no 'gamma': expected one of random, uniform, standard_normal, normal"):
        draws().gamma(2.0)
