"""Paths from the command line, TOML files and environment variables: one rule for all.

A shell expands ``~`` only at the start of a word, not in ``--run=~/runs/a``, in quotes or in a file. And
``--run "$UNSET"`` arrives as an empty word, which would silently mean the working directory.
"""

import argparse
import os
from collections.abc import Callable
from pathlib import Path


def path(text: str) -> str:
    """Return the path ``text`` with a leading ``~`` or ``~user`` expanded: the argparse type of every path.

    Raises argparse.ArgumentTypeError if it is empty, blank, contains a NUL, or names an unknown user's home.
    """
    if not text.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is not a path: it is empty (is a shell variable unset?)")
    if "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not a path: it contains a NUL character")
    expanded = os.path.expanduser(text)
    if expanded.startswith("~"):
        user = text[1:].partition("/")[0]
        reason = f"there is no user {user!r}" if user else "the home directory is unknown, set HOME"
        raise argparse.ArgumentTypeError(f"{text!r}: {reason} (for a file of that name: {'./' + text!r})")
    return expanded


def home() -> Path | None:
    """Return the user's home directory; None if it is unknown: in a container, a user may be a mere number."""
    expanded = os.path.expanduser("~")
    return None if expanded.startswith("~") else Path(expanded)


def as_path(text: str) -> Path:
    """Return ``path(text)`` as a Path."""
    return Path(path(text))


def path_or(*words: str) -> Callable[[str], str]:
    """Return the argparse type of a path or one of ``words`` with a special meaning, like "-" or "auto"."""

    def convert(text: str) -> str:
        return text if text in words else path(text)

    return convert


def code_path(text: str) -> str:
    """Return ``text``, a name like lenet5 or code as FILE.py:NAME, with a leading ``~`` expanded."""
    return text if text.strip() and not text.startswith("~") else path(text)


def is_custom(name: str) -> bool:
    """Whether ``name`` refers to user code: it contains a colon."""
    return ":" in name
