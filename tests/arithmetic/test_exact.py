"""Exact products and sums, compared with Python's integers and fractions."""

from fractions import Fraction

import numpy as np
import pytest

from distlenet.arithmetic import exact
from distlenet.arithmetic.exact import BITS, TERMS, check_terms, in_order, round_to_grid, spans
from distlenet.errors import ConfigError

LARGEST, TINY = float(np.finfo(np.float32).max), float(np.finfo(np.float32).smallest_subnormal)


def rounded(array):
    return round_to_grid(array, np.empty(array.shape))


def product(a, b):
    return exact.product(a, b, np.empty((len(a), b.shape[1])))


def numbers(shape, seed=0, scale=1.0):
    return (scale * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def quanta(factor):
    """Return the factor's numbers as Python integers, and the number that one stands for."""
    exponent = int(np.frexp(abs(factor).max())[1]) if factor.any() else 0
    exact = [Fraction(float(value)) / Fraction(2) ** (exponent - BITS - 1) for value in factor.ravel()]
    assert all(value.denominator == 1 for value in exact)
    return [int(value) for value in exact], Fraction(2) ** (exponent - BITS - 1)


@pytest.mark.parametrize("scale", [1.0, 1e-40, 1e-30, 1e30, LARGEST / 8])
def test_numbers_are_rounded_to_the_nearest_on_the_grid(scale):
    array = np.append(numbers(500, scale=scale), np.float32([0, -0.0, TINY]))
    largest = Fraction(float(abs(array).max()))
    step = Fraction(2) ** (-400)
    while not largest < step * 2**BITS:  # the lowest power of two above the largest magnitude
        step *= 2
    expected = [float(round(Fraction(float(value)) / step) * step) for value in array]  # ties to even, as in Python
    assert rounded(array).tolist() == expected


def test_ties_go_to_even():
    array = np.array([2.0**BITS - 1, 0.5, 1.5, 2.5, -0.5, -1.5])
    assert rounded(array).tolist() == [2.0**BITS - 1, 0, 2, 2, 0, -2]


@pytest.mark.parametrize("largest", [0.0, TINY, 1e-38, 1.0, LARGEST])
def test_the_ends_of_float32(largest):
    array = np.float32([largest, -largest, 0])
    found = rounded(array)
    assert abs(found - array).max() <= largest * 2.0**-BITS and not np.signbit(found[2])


@pytest.mark.parametrize("strange", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_spread(strange):
    assert np.isnan(rounded(np.float32([1, strange, 2]))).all()


def test_an_empty_array():
    assert rounded(np.zeros((3, 0), np.float32)).shape == (3, 0)


def test_products_are_exact_in_any_order():
    a, b = rounded(numbers((3, 700), 1)), rounded(numbers((700, 2), 2, 1e-6))
    found, random = product(a, b), np.random.default_rng(3)
    for _ in range(5):
        order = random.permutation(700)
        assert product(a[:, order], b[order]).tobytes() == found.tobytes()
    (left, unit), (right, other) = quanta(a), quanta(b)
    exact = sum(left[700 + k] * right[2 * k + 1] for k in range(700)) * unit * other
    assert Fraction(float(found[1, 1])) == exact


def test_the_longest_sum_of_the_largest_numbers_is_exact():
    a = rounded(np.full((1, TERMS), 1 - 2.0**-20))  # rounded up to the power of two
    assert a.max() == 1 and product(a, a.T) == TERMS
    a[0, 0] = 1 - 2.0**-BITS
    assert Fraction(float(product(a, a.T)[0, 0])) == TERMS - 1 + (1 - Fraction(1, 2**BITS)) ** 2


def test_longer_sums_are_cut_in_order():
    terms = 2 * TERMS + 100
    a, b = rounded(numbers((2, terms), 1)), rounded(numbers((terms, 3), 2))
    parts = [a[:, start : start + TERMS] @ b[start : start + TERMS] for start in (0, TERMS, 2 * TERMS)]
    assert product(a, b).tobytes() == ((parts[0] + parts[1]) + parts[2]).tobytes()


def test_samples_are_cut_where_a_sum_would_be_too_long():
    assert spans(784, 41) == [slice(0, 41)]
    assert spans(784, 100) == [slice(0, 41), slice(41, 82), slice(82, 100)]
    assert spans(TERMS, 2) == [slice(0, 1), slice(1, 2)]


def test_too_many_terms_are_refused():
    check_terms(TERMS, "a sum")
    with pytest.raises(ConfigError, match=r"a sum adds up 32,769 products, expected at most 32,768.*--numerics native"):
        check_terms(TERMS + 1, "a sum")


def test_other_sums_run_from_the_first_to_the_last():
    array = numbers((1000, 2), 4)
    for column in range(2):
        total = 0.0
        for value in array[:, column].tolist():
            total += value
        assert in_order(array)[column] == total
    assert in_order(np.zeros((0, 3))).tolist() == [0, 0, 0]
