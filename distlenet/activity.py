"""The work of this process, named and counted: what tells a rank that is slow from one that hangs.

Whatever takes its time calls ``advance`` for every piece that is done: a layer, a chunk of images, a block of a
dataset, a piece of a file. Nothing else counts as progress, and nobody but the watchdog looks. It names the work by
what the functions at work are marked as: ``@phase("evaluating")``.
"""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
_pieces = 0
_phase = "starting"


def advance() -> None:
    """Note that a piece of work is done."""
    global _pieces  # noqa: PLW0603
    _pieces += 1


def pieces() -> int:
    """Return how many pieces of work are done so far."""
    return _pieces


def phase(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return the decorator of a function, no generator, that is at the work ``name``, "evaluating"."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            global _phase  # noqa: PLW0603
            before, _phase = _phase, name
            try:
                return function(*args, **kwargs)
            finally:
                _phase = before

        return call

    return decorate


def current_phase() -> str:
    """Return what this process is at, in the innermost function that is marked."""
    return _phase
