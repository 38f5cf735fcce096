"""The work of this process, named and counted: this distinguishes a slow rank from a hung one.

Long-running code calls ``advance`` after each piece of work: a layer, a chunk of images, a block of a dataset, a piece
of a file. Only the watchdog reads the count. It names the work by the ``@phase("evaluating")`` of the running function.
"""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
_pieces = 0
_phase = "starting"


def advance() -> None:
    """Count a finished piece of work."""
    global _pieces  # noqa: PLW0603
    _pieces += 1


def pieces() -> int:
    """Return the number of finished pieces of work."""
    return _pieces


def phase(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator for a function (not a generator) whose work is called ``name``, for example "evaluating"."""

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
    """Return the phase of the innermost decorated function that is running."""
    return _phase
