"""The native arithmetic: numpy's own functions. Their last bits depend on numpy, the BLAS and the CPU.

A *factor* is an array that goes into a product. Natively it is the array itself; the portable arithmetic rounds it
first. So a layer calls ``factor`` on what it multiplies, allocates products as ``product_dtype``, and sums with the
methods below.
"""

import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np


class Buffers(Protocol):
    """What hands out buffers by name: see Layer.scratch."""

    def scratch(self, key: str, shape: tuple[int, ...], dtype: type | None = None) -> np.ndarray:
        """Return the buffer ``key`` of ``shape`` and ``dtype``."""
        ...


class Native:
    """numpy's functions under the names of the arithmetic; see each for what another arithmetic has to do."""

    name = "native"
    chunk = 0  # images evaluated together, if the results depend on it; 0: the engine's own choice

    def __deepcopy__(self, memo: object) -> "Native":
        return self  # layers compare by it

    # ---- products

    def product_dtype(self, dtype: type) -> type:
        """Return the type of products and their factors in a network that computes in ``dtype``."""
        return dtype

    def factor(self, array: np.ndarray, owner: Buffers, key: str) -> np.ndarray:
        """Return ``array`` as a factor of products, if it needs a buffer in that of ``owner`` called ``key``."""
        return array

    def kept_factor(self, array: np.ndarray, owner: Buffers, key: str) -> np.ndarray:
        """As ``factor``, for an ``array`` that rarely changes: weights, which all leaves of a step share."""
        return array

    def refactor(self, array: np.ndarray) -> None:
        """Turn ``array``, computed from factors in their own type, into a factor, in place."""

    def rounded(self, sums: np.ndarray, out: np.ndarray) -> None:
        """Write ``sums`` of products to ``out``, in its type; both are the same memory if they have the same type."""

    def store(self, sums: np.ndarray, out: np.ndarray) -> None:
        """Write ``sums`` of products to ``out``, in its type."""
        np.copyto(out, sums)

    def matmul(self, a: np.ndarray, b: np.ndarray, out: np.ndarray, owner: Buffers) -> np.ndarray:
        """Write the product of the factors ``a`` (m, k) and ``b`` (k, n) to ``out`` (m, n), in its type; return it."""
        return np.matmul(a, b, out=out)

    # (a, axis, out): the sum of a factor, or of products of two factors, over axes that include the last, the samples
    sum: Callable[..., Any] = staticmethod(np.add.reduce)

    def spans(self, terms: int, samples: int) -> list[slice]:
        """Return parts of the ``samples``, each of which a product can sum over; a sample gives ``terms`` terms."""
        return [slice(0, samples)]

    def check_terms(self, terms: int, what: str) -> None:
        """Raise ConfigError if a sum of ``terms`` products of factors cannot be computed as promised."""

    # ---- other sums

    total: Callable[..., Any] = staticmethod(np.add.reduce)  # (a): the sum over the first axis
    widen: Callable[..., Any] = staticmethod(np.asarray)  # (a): in the type for exponentials and totals

    def norm(self, vector: np.ndarray) -> float:
        """Return the Euclidean norm of ``vector`` (n,)."""
        return float(np.sqrt(np.dot(vector, vector)))

    # (a, b, out): the product of ``a`` (m, k), with few columns, and ``b`` (..., k, n), rounded after every operation
    combine: Callable[..., Any] = staticmethod(np.matmul)

    # ---- functions: of arrays, with the argument out; of single numbers

    exp: Callable[..., Any] = staticmethod(np.exp)
    log: Callable[..., Any] = staticmethod(np.log)
    tanh: Callable[..., Any] = staticmethod(np.tanh)
    expm1: Callable[..., Any] = staticmethod(np.expm1)
    sin: Callable[..., Any] = staticmethod(np.sin)
    cos: Callable[..., Any] = staticmethod(np.cos)

    cosine: Callable[..., Any] = staticmethod(math.cos)
    logarithm: Callable[..., Any] = staticmethod(math.log)
    power: Callable[..., Any] = staticmethod(pow)

    # ---- random draws

    def stream(self, seed: int, purpose: int, *position: int) -> Any:
        """Return the random generator, with numpy's methods, for a position in the run.

        It is counter-based, so no state is ever stored. ``purpose`` tells streams of one seed apart: 0 for initial
        parameters, others in data/plan.py. ``position`` is up to three integers, for example (epoch, step).
        """
        return np.random.Generator(np.random.Philox(**key_and_counter(seed, purpose, *position)))


def key_and_counter(seed: int, purpose: int, *position: int) -> dict[str, list[int]]:
    """Return where Philox starts for a position in the run; its own first word counts the draws."""
    return {"key": [seed, purpose], "counter": [0, *position, *[0] * (3 - len(position))]}


NATIVE = Native()
