"""How long-running preparation tells its caller how far it is: a plain function, no terminal."""

from collections.abc import Callable

# progress(stage, done, total): `stage` is a few words, `total` is 0 while it is unknown.
Progress = Callable[[str, int, int], None]


def silent(stage: str, done: int, total: int) -> None:
    """Take no notice: the default when nobody watches."""
