"""Elementary functions made of IEEE operations alone: the same bits on any CPU, with any numpy and C library.

numpy's own exp, tanh, sin ... choose their last bit by the CPU. Here only add, subtract, multiply, divide, rint, ldexp,
frexp and comparisons are used, elementwise and in float64: IEEE 754 fixes each of these to the last bit. Results are
good to about 1e-15 (relative), so that one rounding to float32 gives the nearest float32, or in rare ties its
neighbour. Coefficients are those of the Taylor series, rounded to float64; README.md lists every step.
"""

import math
from collections.abc import Callable
from functools import cache, wraps
from typing import Any

import numpy as np

BLOCK = 8192  # elements computed together: the temporary arrays stay in the cache

# ln 2 and pi / 2 in parts: the first ones have few bits, so that a whole number times a part is exact
LOG2_E = float.fromhex("0x1.71547652b82fep+0")
LN2 = (float.fromhex("0x1.62e42feep-1"), float.fromhex("0x1.a39ef35793c76p-33"))
HALF_PI = tuple(map(float.fromhex, ("0x1.921fb544p+0", "0x1.0b4611a6p-34", "0x1.3198a2e037073p-69")))
MOST_TURNS = 2.0**20  # quarter turns up to which the products with the first parts of pi / 2 are exact
PI_BITS = 1200  # of pi / 2 for larger angles: as many as the largest float64 needs
HALF_ROOT = float.fromhex("0x1.6a09e667f3bcdp-1")  # the square root of 1/2

# from the highest power down; quotients of integers are correctly rounded
EXPM1 = [1 / math.factorial(j) for j in range(13, 0, -1)]  # expm1(r) / r
LOG = [1 / (2 * j + 1) for j in range(10, 0, -1)]  # (atanh(s) / s - 1) / s^2, in powers of s^2
SIN = [(-1) ** j / math.factorial(2 * j + 1) for j in range(7, -1, -1)]  # sin(r) / r, in powers of r^2
COS = [(-1) ** j / math.factorial(2 * j) for j in range(8, -1, -1)]  # cos(r), in powers of r^2

Function = Callable[..., Any]


def _elementwise(core: Callable[[np.ndarray], np.ndarray]) -> Function:
    """Make a function of float64 blocks (n,) without NaN one of any array or number; NaN gives NaN.

    Results are float64, or rounded once to the type of ``out``, which may be ``x`` itself.
    """

    @wraps(core)
    def function(x: Any, out: np.ndarray | None = None) -> Any:
        with np.errstate(all="ignore"):
            blocks = np.nditer(
                [x, out],
                ["buffered", "external_loop", "zerosize_ok"],
                [["readonly"], ["writeonly", "allocate"]],
                op_dtypes=[np.float64, np.float64],
                casting="same_kind",
                buffersize=BLOCK,
            )
            with blocks:
                for given, result in blocks:
                    missing = np.isnan(given)
                    result[...] = core(np.where(missing, 0.0, given)) if missing.any() else core(given)
                    result[missing] = np.nan
                return blocks.operands[1][()] if out is None else out

    return function


def _polynomial(x: np.ndarray, coefficients: list[float]) -> np.ndarray:
    """Return the polynomial by Horner's rule: ``coefficients`` from the highest power down."""
    result = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        result *= x
        result += coefficient
    return result


def _reduce(x: np.ndarray, least: float, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return k, whole numbers up to ``most``, and q, with exp(x) = 2^k (1 + q); below ``least``, x counts as that."""
    x = np.clip(x, least, 710.0)
    k = np.minimum(np.rint(x * LOG2_E), most)
    r = (x - k * LN2[0]) - k * LN2[1]
    return k.astype(np.intc), r * _polynomial(r, EXPM1)


@_elementwise
def exp(x: np.ndarray) -> np.ndarray:
    """Return e^x: 0 below the range of float64, infinity above it."""
    k, q = _reduce(x, -750.0, 1024)
    return np.ldexp(1 + q, k)


def _expm1(x: np.ndarray) -> np.ndarray:
    k, q = _reduce(x, -50.0, 1023)
    return np.ldexp(q, k) + (np.ldexp(1.0, k) - 1)


@_elementwise
def expm1(x: np.ndarray) -> np.ndarray:
    """Return e^x - 1, without cancellation near 0."""
    return np.copysign(_expm1(x), x)  # the sign of -0 would be lost


@_elementwise
def tanh(x: np.ndarray) -> np.ndarray:
    """Return the hyperbolic tangent."""
    t = _expm1(-2 * np.abs(x))
    return np.copysign(t / (2 + t), x)


@_elementwise
def log(x: np.ndarray) -> np.ndarray:
    """Return the natural logarithm: -infinity at 0, NaN below."""
    m, e = np.frexp(x)  # x = m 2^e, m within [0.5, 1)
    low = m < HALF_ROOT
    m, e = np.where(low, 2 * m, m), np.where(low, e - 1, e)  # m within [0.7, 1.4)
    s = (m - 1) / (m + 1)  # log(m) = 2 atanh(s)
    squared = s * s
    result = e * LN2[0] + (e * LN2[1] + (2 * s + 2 * s * (squared * _polynomial(squared, LOG))))
    result = np.where(x == 0, -np.inf, np.where(x == np.inf, np.inf, result))
    return np.where(x < 0, np.nan, result)


def _quarter_turns(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return whole numbers k, modulo 4, and r within +-pi/4, with x = k pi/2 + r, for x from 0; infinity gives NaN."""
    k = np.rint(x / HALF_PI[0])
    far = np.flatnonzero((k > MOST_TURNS) & (x < np.inf))
    r = ((x - k * HALF_PI[0]) - k * HALF_PI[1]) - k * HALF_PI[2]
    k = np.where(k > MOST_TURNS, 0.0, k).astype(np.intp) & 3
    for index in far:
        k[index], r[index] = _far_turns(float(x[index]))
    return k, r


def _far_turns(x: float) -> tuple[int, float]:
    """Return ``_quarter_turns`` of one large number, by whole numbers of any length."""
    (numerator, denominator), unit = x.as_integer_ratio(), _half_pi()
    numerator = (numerator << PI_BITS) // denominator  # a power of two: nothing is lost
    k = (numerator + unit // 2) // unit
    return k & 3, (numerator - k * unit) / (1 << PI_BITS)


@cache
def _half_pi() -> int:
    """Return pi / 2 * 2^PI_BITS as a whole number: Machin's formula, 8 atan(1/5) - 2 atan(1/239)."""
    spare = 32  # more bits, for the rounding errors of the series

    def arctangent(denominator: int) -> int:
        power, total, divisor = (1 << (PI_BITS + spare)) // denominator, 0, 1
        while power:
            total += power // divisor
            power, divisor = -power // denominator**2, divisor + 2
        return total

    return (8 * arctangent(5) - 2 * arctangent(239)) >> spare


def _waves(x: np.ndarray, ahead: int) -> np.ndarray:
    """Return sin(x + ``ahead`` pi/2) for x from 0."""
    k, r = _quarter_turns(x)
    k = (k + ahead) & 3
    squared = r * r
    wave = np.where(k & 1, _polynomial(squared, COS), r * _polynomial(squared, SIN))
    return np.where(k & 2, -wave, wave)


@_elementwise
def sin(x: np.ndarray) -> np.ndarray:
    """Return the sine of radians; NaN for infinity."""
    wave = _waves(np.abs(x), 0)
    return np.where(np.signbit(x), -wave, wave)


@_elementwise
def cos(x: np.ndarray) -> np.ndarray:
    """Return the cosine of radians; NaN for infinity."""
    return _waves(np.abs(x), 1)


def power(x: Any, y: Any) -> Any:
    """Return x^y, float64, as exp(y log |x|); special values are those of C's pow.

    The relative error grows with |y log x|, to 1e-13 at the ends of float32.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    with np.errstate(all="ignore"):
        size = exp(y * log(np.abs(x)))
        whole = np.rint(y) == y
        odd = whole & (np.rint(y / 2) != y / 2)
        one = (y == 0) | (x == 1) | ((x == -1) & np.isinf(y))
        size = np.where(one, 1.0, np.where((x < 0) & np.isfinite(x) & ~whole, np.nan, size))
        return np.where(np.signbit(x) & odd, -size, size)[()]
