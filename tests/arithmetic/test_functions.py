"""Elementary functions: close to the exact values over the whole range, and the same bits with fewer CPU features."""

import sys
from decimal import Decimal, localcontext
from fractions import Fraction

import exactly
import mpi_jobs
import numpy as np
import pytest
import unlike

from distlenet.arithmetic import functions

NAMES = ("exp", "log", "tanh", "expm1", "sin", "cos")
RANGES = {  # the arguments, as float32, whose results are neither 0 nor infinite
    "exp": (-104, 89),
    "log": (0, np.inf),
    "tanh": (-20, 20),
    "expm1": (-20, 89),
    "sin": (-1e9, 1e9),
    "cos": (-1e9, 1e9),
}
INFINITY = float("inf")


def float32_from(name: str, count: int) -> np.ndarray:
    """Return float32 numbers of all magnitudes at which ``name`` has a finite result, as float64."""
    random = np.random.default_rng(3)
    low, high = RANGES[name]
    with np.errstate(invalid="ignore"):  # some are signalling NaN
        anywhere = random.integers(0, 2**32, 20 * count, np.uint32).view(np.float32).astype(np.float64)
    anywhere = anywhere[(anywhere > low) & (anywhere < high)][:count]
    even = random.uniform(max(low, -1e5), min(high, 1e5), count).astype(np.float32).astype(np.float64)
    near_one = 1 + random.standard_normal(count // 4).astype(np.float32) * np.float32(1e-3)
    quarters = (np.arange(1, count // 4) * (np.pi / 2)).astype(np.float32)  # hard cases of sin and cos
    edges = np.array([1e-45, 1.2e-38, 1.0, 1e-7, 0.5, 2.0], np.float32)
    found = np.concatenate([anywhere, even, near_one, quarters, edges, -edges]).astype(np.float64)
    return found[(found > low) & (found < high)]


def ulps(found: float, exact: Decimal) -> float:
    """Return the distance of ``found``, rounded to float32, from ``exact``, in units of float32's last place."""
    with localcontext(prec=60):
        rounded = np.float32(found)
        unit = max(np.spacing(abs(np.float32(float(exact)))), np.float32(1e-45))
        return float(abs(Decimal(float(rounded)) - exact) / Decimal(float(unit)))


@pytest.mark.parametrize("name", NAMES)
def test_float32_results_are_the_nearest_ones(name):
    x = float32_from(name, 1500)
    found, exact = getattr(functions, name)(x), [getattr(exactly, name)(value) for value in x.tolist()]
    assert max(map(ulps, found.tolist(), exact)) < 0.50001  # 1 is promised


@pytest.mark.parametrize("name", NAMES)
def test_float64_results_agree_with_numpy(name):
    x = float32_from(name, 200_000)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(getattr(functions, name)(x), getattr(np, name)(x), rtol=1e-14, atol=1e-300)


@pytest.mark.parametrize("name", NAMES)
def test_special_values(name):
    x = np.array([0.0, -0.0, INFINITY, -INFINITY, np.nan, 5e-324, -5e-324, 1e-310, 709.7, 710.0, -744.0, -800.0, 1.0])
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(x)
    found = getattr(functions, name)(x)
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    known = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(found[known]), np.signbit(expected[known]))


@pytest.mark.parametrize(
    ("x", "sine"),  # hard to reduce: the largest numbers, and one next to a multiple of pi / 2
    [(1e300, -0.8178819121159085), (float(np.finfo(np.float32).max), -0.5218765), (6381956970095103 * 2.0**797, 1.0)],
)
def test_large_angles_are_reduced_exactly(x, sine):
    assert functions.sin(x) == pytest.approx(sine, rel=1e-7)
    assert functions.sin(x) ** 2 + functions.cos(x) ** 2 == pytest.approx(1, rel=1e-15)
    assert functions.sin(-x) == -functions.sin(x) and functions.cos(-x) == functions.cos(x)


def test_both_ways_of_reducing_an_angle_agree():
    for x in (1.0, 1e5 + 0.25, 22.0, 355.0, 1647098.5):
        turns, rest = functions._quarter_turns(np.array([x]))
        assert functions._far_turns(x) == (turns[0], pytest.approx(rest[0], rel=1e-15))


@pytest.mark.parametrize(("base", "most"), [(0.999, 10**5), (0.9, 800), (1.0001, 800_000), (10.0, 38), (1e-38, 1)])
def test_powers_of_a_schedule_and_of_adam(base, most):
    for exponent in {0, 1, 2, most // 3, most}:
        exact = exactly.power(base, exponent)
        assert ulps(functions.power(base, exponent), exact) < 0.50001


def test_powers_of_any_float32():
    random = np.random.default_rng(5)
    x = np.exp(random.uniform(-80, 80, 1000)).astype(np.float32).astype(np.float64)
    y = (random.uniform(-80, 80, 1000) / np.log(x)).astype(np.float32).astype(np.float64)
    for each in zip(functions.power(x, y).tolist(), map(exactly.power, x.tolist(), y.tolist()), strict=True):
        assert ulps(*each) < 0.50001


def test_powers_of_special_values():
    values = [0.0, -0.0, INFINITY, -INFINITY, np.nan, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 1.5]
    x, y = np.meshgrid(values, values)
    with np.errstate(all="ignore"):
        expected = np.power(x, y)
    found = functions.power(x, y)
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    known = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(found[known]), np.signbit(expected[known]))


def test_constants_are_those_of_their_rules():
    with localcontext(prec=60):
        assert sum(map(Decimal, functions.LN2)) == pytest.approx(Decimal(2).ln(), abs=Decimal("2e-26"))
        assert abs(sum(map(Decimal, functions.HALF_PI)) - exactly.PI / 2) < Decimal("1e-36")
        assert Decimal(functions.LOG2_E) == pytest.approx(1 / Decimal(2).ln(), abs=Decimal("1e-16"))
    for part, bits in ((functions.LN2[0], 32), (functions.HALF_PI[0], 33), (functions.HALF_PI[1], 33)):
        assert Fraction(part).numerator.bit_length() <= bits  # 53 less those of the whole number
    assert np.sqrt(0.5) == functions.HALF_ROOT


def test_arrays_of_any_shape_type_and_order():
    x = np.random.default_rng(1).standard_normal((3, 4, 5))
    expected = np.reshape([functions.tanh(value) for value in x.ravel()], x.shape)
    for given in (x, np.asfortranarray(x), x[::-1].copy()[::-1], x.transpose(2, 0, 1).copy().transpose(1, 2, 0)):
        np.testing.assert_array_equal(functions.tanh(given), expected)
    assert functions.exp(np.zeros((0, 3))).shape == (0, 3)
    assert functions.exp(0) == 1 and np.ndim(functions.exp(np.float32(0.5))) == 0
    small = x.astype(np.float32)
    rounded = functions.tanh(small).astype(np.float32)
    assert functions.tanh(small, small) is small  # in place
    np.testing.assert_array_equal(small, rounded)
    long = np.linspace(-3, 3, 3 * functions.BLOCK + 5)
    np.testing.assert_array_equal(functions.sin(long)[::777], functions.sin(long[::777]))


DIGEST = """
import hashlib
import numpy as np
from distlenet.arithmetic import functions
from distlenet.arithmetic.draws import Draws
bits = Draws([7, 0], [0, 0, 0, 0]).words(60_000)
digest = hashlib.sha256()
with np.errstate(all="ignore"):
    anywhere, usual = bits.view(np.float64), (bits >> np.uint64(11)) * 2.0**-47 - 32
    for name in ("exp", "log", "tanh", "expm1", "sin", "cos"):
        for x in (anywhere, usual):
            result = getattr(functions, name)(x)
            digest.update(np.where(np.isnan(result), 0, result).tobytes())
    digest.update(functions.power(abs(usual), usual[::-1]).tobytes())
digest.update(Draws([7, 1], [0, 0, 0, 0]).standard_normal(20_000).tobytes())
print(digest.hexdigest())
"""


def digest_with(**environment: str) -> str:
    done = mpi_jobs.run([sys.executable, "-c", DIGEST], env=mpi_jobs.environment(**environment))
    return done.expect().stdout.split()[-1]


def test_bits_do_not_depend_on_the_cpu():
    assert digest_with() == digest_with(**unlike.PLAIN_NUMPY) == KNOWN


KNOWN = "6170a0db11548da24aeb45c6110576e58ff32085abcaea5444d2be61e89bc744"
