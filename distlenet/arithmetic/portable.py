"""The portable arithmetic: only operations that IEEE 754 defines to the last bit, so every machine gets the same bits.

These are +, -, *, / and sqrt on single numbers, comparisons, and conversions. README.md is the specification.
"""

import numpy as np

from distlenet.arithmetic.draws import Draws
from distlenet.arithmetic.exact import check_terms, in_order, product, round_to_grid, spans
from distlenet.arithmetic.functions import cos, exp, expm1, log, power, sin, tanh
from distlenet.arithmetic.native import Buffers, Native, key_and_counter


class Portable(Native):
    """See Native for what each method is for."""

    name = "portable"
    chunk = 250  # the scales of factors come from all images that are evaluated together

    def product_dtype(self, dtype: type) -> type:
        """See Native."""
        return np.float64

    def factor(self, array: np.ndarray, owner: Buffers, key: str) -> np.ndarray:
        """Return ``array`` rounded to its grid, float64."""
        return round_to_grid(array, owner.scratch(f"{key} factor", array.shape, np.float64))

    def kept_factor(self, array: np.ndarray, owner: Buffers, key: str) -> np.ndarray:
        """As ``factor``; compares the array with that of the last call."""
        kept = owner.scratch(f"{key} kept", array.shape)  # both start as zeros
        rounded = owner.scratch(f"{key} factor", array.shape, np.float64)
        if not np.array_equal(kept, array):
            np.copyto(kept, array)
            round_to_grid(array, rounded)
        return rounded

    def refactor(self, array: np.ndarray) -> None:
        """Round ``array`` (float64) to its grid, in place."""
        round_to_grid(array, array)

    def rounded(self, sums: np.ndarray, out: np.ndarray) -> None:
        """Write ``sums`` of products (float64) to ``out``, rounded."""
        np.copyto(out, sums)

    def store(self, sums: np.ndarray, out: np.ndarray) -> None:
        """Write ``sums`` of products to ``out``, rounded; -0.0, whose sign depends on the BLAS, becomes 0.0."""
        np.copyto(out, sums)
        out += 0.0

    def matmul(self, a: np.ndarray, b: np.ndarray, out: np.ndarray, owner: Buffers) -> np.ndarray:
        """Write the product of the factors ``a`` (m, k) and ``b`` (k, n) to ``out`` (m, n), rounded; return it."""
        self.store(product(a, b, owner.scratch("product", out.shape, np.float64)), out)
        return out

    @staticmethod
    def sum(a: np.ndarray, axis: int | tuple[int, ...], out: np.ndarray) -> np.ndarray:
        """Write the sum of ``a`` (..., samples), a factor or products of two, to ``out``, rounded once.

        ``axis`` includes the samples.
        """
        terms, total = a.size // max(1, out.size * a.shape[-1]), np.zeros(out.shape)
        for span in spans(terms, a.shape[-1]):
            total += np.sum(a[..., span], axis=axis)
        return np.add(total, 0.0, out=out)

    def spans(self, terms: int, samples: int) -> list[slice]:
        """See exact.spans."""
        return spans(terms, samples)

    def check_terms(self, terms: int, what: str) -> None:
        """See exact.check_terms."""
        check_terms(terms, what)

    total = staticmethod(in_order)

    @staticmethod
    def widen(a: np.ndarray) -> np.ndarray:
        """Return ``a`` as float64."""
        return np.asarray(a, np.float64)

    def norm(self, vector: np.ndarray) -> float:
        """See Native."""
        wide = self.widen(vector)
        return float(np.sqrt(in_order(wide * wide)))

    @staticmethod
    def combine(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Write the product of ``a`` (m, k) and ``b`` (..., k, n) to ``out``, in its type, one term after the other."""
        np.multiply(a[:, :1], b[..., :1, :], out=out)
        for k in range(1, a.shape[1]):
            out += a[:, k : k + 1] * b[..., k : k + 1, :]
        return out

    exp = staticmethod(exp)
    log = staticmethod(log)
    tanh = staticmethod(tanh)
    expm1 = staticmethod(expm1)
    sin = staticmethod(sin)
    cos = staticmethod(cos)

    @staticmethod
    def cosine(angle: float) -> float:
        """Return the cosine of ``angle``, in radians."""
        return float(cos(angle))

    @staticmethod
    def logarithm(x: float) -> float:
        """Return the natural logarithm of ``x``."""
        return float(log(x))

    @staticmethod
    def power(base: float, exponent: float) -> float:
        """Return ``base`` to the power of ``exponent``."""
        return float(power(base, exponent))

    def stream(self, seed: int, purpose: int, *position: int) -> Draws:
        """See Native."""
        return Draws(**key_and_counter(seed, purpose, *position))


PORTABLE = Portable()
