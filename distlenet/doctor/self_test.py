"""Does this machine compute right? A known training, and if its result is wrong, the part that is to blame."""

import hashlib
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from distlenet.arithmetic import functions
from distlenet.arithmetic.draws import Draws
from distlenet.doctor.known import KNOWN, Drawn, train_known
from distlenet.numerics import numerics

NUMBERS = 3000  # that each operation is tried on
# rows, inner length and columns of products: as in LeNet-5, in BLAS's small and blocked code, and matrix times vector
PRODUCTS = ((16, 150, 640), (120, 400, 32), (3, 25000, 5), (84, 120, 1), (130, 257, 129))
CHANGES = (
    "this CPU, or its memory: the same computation gave two different results; do not trust its results, and test it, "
    "for example with memtest86+ or stress-ng --verify"
)
# the SHA-256 of the results of elementary functions
FUNCTIONS = "edfe6939806062757519b690677c41f7bfd320152dbafceb3e167664e98d77e7"
ONE: dict[str, Callable[[float], float]] = {"sqrt": math.sqrt, "rint": round, "floor": math.floor, "abs": abs}
TWO: dict[str, Callable[[float, float], float]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "maximum": max,
    "minimum": min,
}


def self_test() -> dict[str, Any]:
    """Return the results: of native numerics, twice, of portable ones, and ``culprit``, a sentence or None."""
    started, digits = time.monotonic(), Drawn()
    native = [train_known(digits, "native") for _ in range(2)]
    portable = train_known(digits, "portable")
    changes = native[0] != native[1] or (portable != KNOWN and train_known(digits, "portable") != portable)
    culprit = CHANGES if changes else _wrong_part()
    if portable != KNOWN and not culprit:
        culprit = "unknown: single operations and products are right; please report it, with doctor --json"
    return {
        "kernel": numerics()["kernel"],
        "native": native[0],
        "repeats": native[0] == native[1],
        "portable": portable,
        "known": portable == KNOWN,
        "culprit": culprit,
        "seconds": time.monotonic() - started,
    }


def _wrong_part() -> str | None:
    """Return which part computes something else than every other machine, None if each does as it should."""
    found = numerics()
    if wrong := wrong_operation():
        return f"numpy {found['numpy']}: its {wrong} differs from IEEE 754; reinstall numpy, or use another version"
    if wrong := wrong_product():
        return (
            f"the BLAS ({found['blas']}, kernel {found['kernel']}): {wrong} of whole numbers is not exact; try another "
            "kernel, for example OPENBLAS_CORETYPE=Haswell, or another numpy"
        )
    return None


def wrong_product() -> str | None:
    """Multiply matrices of whole numbers, whose sums are exact in float64; return the first that is wrong."""
    draws = Draws([1, 0], [0, 0, 0, 0])
    for rows, inner, columns in PRODUCTS:
        most = 2 ** ((53 - inner.bit_length()) // 2)
        a = draws.integers(1 - most, most, (rows, inner))
        b = draws.integers(1 - most, most, (inner, columns))
        found = np.matmul(a.astype(np.float64), b.astype(np.float64))
        if not np.array_equal(found, np.matmul(a, b)):  # of integers: numpy's own loops, no BLAS
            return f"a product of {rows} x {inner} and {inner} x {columns}"
    return None


def wrong_operation() -> str | None:
    """Compare numpy's elementwise operations with Python's, then elementary functions; return the first wrong one."""
    draws = Draws([2, 0], [0, 0, 0, 0])
    exponents = draws.integers(-40, 40, (2, NUMBERS))
    a, b = np.ldexp(draws.uniform(-1.0, 1.0, (2, NUMBERS)), exponents)
    for name, one in ONE.items():
        given = np.abs(a) if name == "sqrt" else a
        if getattr(np, name)(given).tolist() != [one(x) for x in given.tolist()]:
            return name
    for name, two in TWO.items():
        if getattr(np, name)(a, b).tolist() != [two(x, y) for x, y in zip(a.tolist(), b.tolist(), strict=True)]:
            return name
    scaled = [math.ldexp(x, e) for x, e in zip(a.tolist(), exponents[1].tolist(), strict=True)]
    if np.ldexp(a, exponents[1]).tolist() != scaled:
        return "ldexp"
    if list(zip(*(part.tolist() for part in np.frexp(a)), strict=True)) != [math.frexp(x) for x in a.tolist()]:
        return "frexp"
    return None if functions_sha256() == FUNCTIONS else "combination of operations, in exp, log, tanh, sin or cos,"


def functions_sha256() -> str:
    """Return the SHA-256 of elementary functions and draws, as float64, little-endian."""
    draws, digest = Draws([3, 0], [0, 0, 0, 0]), hashlib.sha256()
    x = draws.uniform(-30.0, 30.0, NUMBERS)
    for name in ("exp", "expm1", "tanh", "sin", "cos"):
        digest.update(getattr(functions, name)(x).astype("<f8").tobytes())
    digest.update(functions.log(np.abs(x)).astype("<f8").tobytes())
    digest.update(draws.standard_normal(NUMBERS).astype("<f8").tobytes())
    return digest.hexdigest()
