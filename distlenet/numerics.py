"""The numerical environment, on which the last bit of a result depends: numpy, the BLAS, its kernel and threads.

Also tests of vectors: finite? equal?
"""

import ctypes
import hashlib
import os
from functools import cache
from typing import Any

import numpy as np

from distlenet.processes import mapped_files


@cache
def numerics() -> dict[str, Any]:
    """Return numpy's version, the BLAS with its CPU kernel and threads, and numpy's own CPU features.

    Two runs with equal numerics give the same bits; otherwise the last bit may differ.
    """
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    kernel, threads = _openblas()
    return {
        "numpy": np.__version__,
        "blas": f"{blas.get('name', '?')} {blas.get('version', '?')}",
        "kernel": kernel,
        "threads": threads,
        "simd": "+".join(np.show_config(mode="dicts").get("SIMD Extensions", {}).get("found", [])),
    }


def _openblas() -> tuple[str, int | None]:
    """Ask the loaded OpenBLAS for its kernel's name and its number of threads; ("?", None) for others."""
    paths = [path for path in mapped_files("openblas") if ".so" in path]
    for path in sorted(paths, key=lambda path: "numpy" not in path):
        library = ctypes.CDLL(path, mode=os.RTLD_NOLOAD | os.RTLD_LAZY)
        for pattern in ("scipy_openblas_{}64_", "scipy_openblas_{}", "openblas_{}64_", "openblas_{}"):
            try:
                name = getattr(library, pattern.format("get_corename"))
                count = getattr(library, pattern.format("get_num_threads"))
            except AttributeError:
                continue
            name.restype = ctypes.c_char_p
            return name().decode(), int(count())
    return "?", None


def is_finite(vector: np.ndarray) -> bool:
    """Whether no element is NaN or infinite."""
    # the product first: it needs no memory, and is finite unless an element is huge or not finite
    return bool(np.isfinite(np.dot(vector, vector)) or np.isfinite(vector).all())


def sha256(theta: np.ndarray) -> str:
    """Return the SHA-256 of a flat parameter vector (parameters,) as float32, little-endian."""
    return hashlib.sha256(np.ascontiguousarray(theta, "<f4").data).hexdigest()
