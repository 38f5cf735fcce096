"""The ``.part`` file of a download: it outlives the process, and only one process at a time fills it."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def open_part(path: Path) -> Iterator[BinaryIO]:
    """Open ``<path>.part`` to go on with it, unbuffered; while another process has it, a file of our own.

    The shared file stays when the body fails, so that a later run resumes; our own is removed. The body
    may rename the file. Raises OSError.
    """
    shared = path.with_name(path.name + ".part")
    part = _locked(shared)
    if part is not None:
        with part:
            yield part
        return
    own = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with open(own, "x+b", buffering=0) as part:
            yield part
    finally:
        with suppress(OSError):
            own.unlink()


def _locked(shared: Path) -> BinaryIO | None:
    """Return ``shared`` opened and locked, None if another process has it or locks are not to be had."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    part = open(shared, "a+b", buffering=0)  # noqa: SIM115 (it is the caller's to close)
    try:
        fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # whoever had the lock may have renamed the file between our opening and our locking
        if os.path.samestat(os.fstat(part.fileno()), os.stat(shared)):
            return part
    except OSError:
        pass
    part.close()
    return None
