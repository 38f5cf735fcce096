"""The process belongs to the caller, a script or a notebook: resources that are borrowed for a while and returned."""

import contextlib
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from distlenet.errors import DistlenetError, UsageError
from distlenet.numerics import one_thread
from distlenet.parallel import Communicator
from distlenet.parallel.connect import connect
from distlenet.training.signals import Signals
from distlenet.trust import Trust

# the keywords for options in error messages (which refer to the command line), if they differ from the option's name
KEYWORDS = {
    "--resume auto": 'resume="auto"',
    "--overwrite": "overwrite=True",
    "--force": "overwrite=True",
    "--trust-code": "trust_code=True",
    "with --out": "for it",  # before the shorter one
    "--out": "path",
    "give --size ROWSxCOLUMNS": "reshape them to (n, rows, columns)",
    "your command line": "your call",
}


class CallersSignals(Signals):
    """The signals of a run in a process that continues after it."""

    def insist(self) -> None:
        """Leave the run at once, where it is: a second Ctrl-C must not end a notebook's kernel."""
        raise KeyboardInterrupt


@cache
def communicator() -> Communicator:
    """Return the ranks of this process, connected once: alone, or those of the mpirun that started it."""
    return connect()


@contextlib.contextmanager
def borrowed(signals: Signals) -> Iterator[None]:
    """Listen to ``signals`` (in the main thread) and let the BLAS run one thread, for the length of the block."""
    with signals, one_thread():
        yield


@contextlib.contextmanager
def in_keywords() -> Iterator[None]:
    """Let errors of the block speak of keywords: ``overwrite=True``, not ``--overwrite``."""
    try:
        yield
    except DistlenetError as error:
        error.args = (keywords(str(error)),)
        raise


def keywords(text: str) -> str:
    """Return a sentence of the command line's as one of Python's; commands in it, within `...`, stay as they are."""
    parts = text.split("`")
    for place in range(0, len(parts), 2):
        for words, keyword in KEYWORDS.items():
            parts[place] = re.sub(rf"{words}(?![\w-])", keyword, parts[place])
        parts[place] = re.sub(r"(?<![\w-])--([a-z][a-z0-9-]*)", lambda flag: flag[1].replace("-", "_"), parts[place])
    return "`".join(parts)


def as_path(value: str | os.PathLike[str], name: str) -> str:
    """Return the path ``value`` with a leading ``~`` expanded; raises UsageError that calls it ``name``."""
    if not isinstance(value, str | os.PathLike):
        raise UsageError(f"{name} is {value!r:.80}, expected a path")
    text = os.fspath(value)
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise UsageError(f"{name} is {text!r:.80}, expected a path")
    return os.path.expanduser(text)


class CallersTrust(Trust):
    """What code may run, as the caller's keywords say."""

    def _again(self, *words: str) -> str:
        """Return the keywords that are missing: ("--model", "net.py:build") -> "model='net.py:build'"."""
        return ", ".join(f"{flag.lstrip('-')}={value!r}" for flag, value in zip(words[::2], words[1::2], strict=True))


def trust(settings: Mapping[str, Any], trust_code: bool) -> Trust:
    """Return the trust in the code that the caller's ``settings`` name, and what ``trust_code`` allows."""
    return CallersTrust.in_settings(settings, files=trust_code, tell=tell)


def tell(text: str) -> None:
    """Tell the caller what they should know."""
    warnings.warn(keywords(text), stacklevel=3)  # of the line that called the function that tells it
