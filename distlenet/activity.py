"""The work that this process has done, counted: what tells a rank that is slow from one that hangs.

Whatever takes its time calls ``advance`` for every piece that is done: a layer, a chunk of images, a block of a
dataset, a piece of a file. Nothing else counts as progress, and nobody but the watchdog looks.
"""

_pieces = 0


def advance() -> None:
    """Note that a piece of work is done."""
    global _pieces  # noqa: PLW0603
    _pieces += 1


def pieces() -> int:
    """Return how many pieces of work are done so far."""
    return _pieces
