"""Products and sums whose result does not depend on the order of the additions.

Both factors of a product are rounded to a grid, so that every product of two numbers is a whole number of quanta, and
every partial sum is below 2**53 quanta. All additions are then exact in float64. Other sums are added up in order.
"""

import math

import numpy as np

from distlenet.errors import ConfigError

BITS = 19  # of a factor, below the power of two above its largest magnitude
TERMS = 2**15  # most products in an exact sum: 2 * 19 + 15 = 53, the bits of a float64


def grid(array: np.ndarray) -> float:
    """Return the number c for which (a + c) - c, in float64, rounds each a of ``array`` to the array's grid.

    With 2**e the lowest power of two above the largest magnitude, the grid is 2**(e - BITS). Returns NaN if the array
    has a number that is not finite: all of it becomes NaN.
    """
    if not array.size:
        return 1.0
    largest = max(float(np.maximum.reduce(array, axis=None)), -float(np.minimum.reduce(array, axis=None)))
    return math.ldexp(1.5, math.frexp(largest)[1] + 52 - BITS) if math.isfinite(largest) else math.nan


def round_to_grid(array: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Write ``array``, float32 or float64, rounded to its grid, to ``out``, float64 (of the same shape); return it."""
    c = grid(array)
    np.copyto(out, array)
    np.add(out, c, out=out)
    return np.subtract(out, c, out=out)


def product(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Write the product of the factors ``a`` (m, k) and ``b`` (k, n) to ``out`` (m, n), all float64; return it.

    Sums of more than TERMS products are cut after every TERMS terms; the parts are added in order.
    """
    np.matmul(a[:, :TERMS], b[:TERMS], out=out)
    for start in range(TERMS, a.shape[1], TERMS):
        out += a[:, start : start + TERMS] @ b[start : start + TERMS]
    return out


def spans(terms: int, samples: int) -> list[slice]:
    """Return consecutive parts of ``samples`` samples, each as long as possible with at most TERMS terms.

    A sample gives ``terms`` terms to a sum, at most TERMS. An exact sum runs over one part; their results are added in
    order.
    """
    length = TERMS // terms
    return [slice(start, min(start + length, samples)) for start in range(0, samples, length)]


def check_terms(terms: int, what: str) -> None:
    """Raise ConfigError if ``terms`` products are too many for an exact sum; ``what`` are these products."""
    if terms > TERMS:
        raise ConfigError(
            f"{what} adds up {terms:,} products, expected at most {TERMS:,}, because portable sums must be exact: make "
            "it smaller, or use --numerics native"
        )


def in_order(array: np.ndarray) -> np.ndarray:
    """Return the sum of ``array`` (n, ...) over its first axis, added up in float64, the first number first."""
    if not len(array):
        return np.zeros(array.shape[1:])
    return np.add.accumulate(array, axis=0, dtype=np.float64)[-1]  # numpy defines its order, unlike that of add.reduce
