"""The numerical environment, on which the last bit of a result depends: the engine, numpy, the BLAS with its threads.

Also tests of vectors: finite? equal?
"""

import contextlib
import ctypes
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from distlenet.processes import mapped_files

PORTABLE = 1  # revision of the portable arithmetic; increased when its specification changes
ENGINE = 2  # revision of the network's arithmetic; increased when the same weights and images give other last bits
# of each BLAS: a word of its file's name, the variable that sets its threads, and how its functions are called, in
# each of its builds: {} is replaced by what the function does
LIBRARIES = (
    (
        *("openblas", "OPENBLAS_NUM_THREADS"),
        ("scipy_openblas_{}64_", "scipy_openblas_{}", "openblas_{}64_", "openblas_{}"),
        ("get_num_threads", "set_num_threads"),
    ),
    ("mkl_rt", "MKL_NUM_THREADS", ("MKL_{}",), ("Get_Max_Threads", "Set_Num_Threads")),
    ("blis", "BLIS_NUM_THREADS", ("bli_thread_{}",), ("get_num_threads", "set_num_threads")),
)


@dataclass(frozen=True)
class Blas:
    """The BLAS that numpy has loaded."""

    kernel: str  # of the CPU; "?": it does not say
    variable: str  # of the environment, which sets its threads
    get_threads: Callable[[], int]
    set_threads: Callable[[int], object]


@cache
def find_blas() -> Blas | None:
    """Return the loaded BLAS, None if it is none of LIBRARIES or its threads cannot be set."""
    for word, variable, patterns, (get, put) in LIBRARIES:
        paths = [path for path in mapped_files(word) if ".so" in path]
        # numpy's wheel has its own, and scipy, which has another, may have been loaded too
        for path in sorted(paths, key=lambda path: ("numpy.libs" not in path, "scipy.libs" in path, path)):
            library = ctypes.CDLL(path, mode=os.RTLD_NOLOAD | os.RTLD_LAZY)
            for pattern in patterns:
                with contextlib.suppress(AttributeError):  # another build's names
                    functions = getattr(library, pattern.format(get)), getattr(library, pattern.format(put))
                    return Blas(_kernel(library, pattern), variable, *functions)
    return None


def _kernel(library: ctypes.CDLL, pattern: str) -> str:
    try:
        name = getattr(library, pattern.format("get_corename"))
    except AttributeError:
        return "?"
    name.restype = ctypes.c_char_p
    return name().decode()


def numerics(arithmetic: str = "native") -> dict[str, Any]:
    """Return the arithmetic, the engine's revision, numpy's version and CPU features, and the BLAS with its CPU kernel
    and threads.

    Two runs give the same bits if their ``decisive`` numerics are equal; otherwise the last bit may differ.
    """
    config, blas = _config(), find_blas()
    return {
        "arithmetic": f"{arithmetic} {PORTABLE}" if arithmetic == "portable" else arithmetic,
        "engine": ENGINE,
        "numpy": np.__version__,
        "blas": f"{config['blas'].get('name', '?')} {config['blas'].get('version', '?')}",
        "kernel": blas.kernel if blas else "?",
        "threads": int(blas.get_threads()) if blas else None,
        "simd": "+".join(config["simd"].get("found", [])),
    }


def decisive(found: dict[str, Any]) -> dict[str, Any]:
    """Return the numerics of ``found`` on which the last bit depends: of portable ones the arithmetic alone."""
    whole = {"arithmetic": "native", "engine": 1, **found}  # the first checkpoints held neither
    return whole if whole["arithmetic"] == "native" else {"arithmetic": whole["arithmetic"]}


def difference(stored: dict[str, Any], now: dict[str, Any]) -> str:
    """Return in words how the numerics ``stored`` differ from those of ``now``; empty if the bits are the same."""
    before, after = decisive(stored), decisive(now)
    keys = ["arithmetic"] if before["arithmetic"] != after["arithmetic"] else list(before)
    return ", ".join(f"{key} {before[key]} (now {after.get(key)})" for key in keys if before[key] != after.get(key))


@cache
def _config() -> dict[str, dict[str, Any]]:
    built: Any = np.show_config(mode="dicts")
    return {"blas": built["Build Dependencies"]["blas"], "simd": built.get("SIMD Extensions", {})}


_lock = threading.Lock()
_blocks = 0  # of ``one_thread`` that are open, in all threads
_before = 1  # BLAS threads before the first of them


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let the BLAS run one thread, as on the command line; afterwards restore the earlier number.

    For a process that had loaded numpy before. A number that the environment sets for this BLAS (OPENBLAS_NUM_THREADS)
    wins, as on the command line.
    """
    global _blocks, _before  # noqa: PLW0603
    blas = find_blas()
    if blas is None or blas.variable in os.environ:
        yield
        return
    with _lock:
        if not _blocks:
            _before = blas.get_threads()
            blas.set_threads(1)
        _blocks += 1
    try:
        yield
    finally:
        with _lock:
            _blocks -= 1
            if not _blocks:
                blas.set_threads(_before)


def is_finite(vector: np.ndarray) -> bool:
    """Whether no element is NaN or infinite."""
    # the product first: it needs no memory, and is finite unless an element is huge or not finite
    return bool(np.isfinite(np.dot(vector, vector)) or np.isfinite(vector).all())


def sha256(theta: np.ndarray) -> str:
    """Return the SHA-256 of a flat parameter vector (parameters,) as float32, little-endian."""
    return hashlib.sha256(np.ascontiguousarray(theta, "<f4").data).hexdigest()
