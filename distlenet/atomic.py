"""Write whole or not at all: a file is replaced, or something is added to it; nobody sees half of it."""

import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from distlenet.bounded import kind
from distlenet.errors import DistlenetError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no space, over the quota, over the file size limit


@contextmanager
def replacing(path: str | os.PathLike[str], follow_links: bool = False) -> Iterator[Path]:
    """Give a temporary path beside ``path``; move it onto ``path`` when the body ends without an error.

    The body creates and closes the temporary file. It is then flushed to the disk, renamed, and the
    directory is flushed as well, so that a power cut leaves the old file or the new one. When the body
    raises (a full disk, Ctrl-C), the temporary file is removed and ``path`` is as it was. The name is
    unique: two processes that write the same file do not meet; the last one to finish wins.

    A link is replaced; with ``follow_links`` one, perhaps to another disk, stays and leads to the new file.
    Anything else than a file, such as a directory, a pipe or /dev/null, is an OSError: it would be gone.
    """
    target = Path(os.path.realpath(path)) if follow_links else Path(path)
    found = kind(target)
    if found not in (None, "a file", "a link"):
        raise OSError(errno.EISDIR if found == "a directory" else errno.EINVAL, f"it is {found}, expected a file")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.part"
    try:
        yield temporary
        flush_to_disk(temporary)
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    with suppress(OSError):  # some file systems refuse to flush a directory; the rename is done all the same
        flush_to_disk(target.parent)


def write(
    path: str | os.PathLike[str], content: str | bytes, error: type[DistlenetError], follow_links: bool = False
) -> None:
    """Write ``content`` to ``path``, whole or not at all; raises ``error``. Links: see ``replacing``."""
    try:
        with replacing(path, follow_links) as temporary:
            temporary.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as failure:
        raise error(f"cannot write {path}: {why_not_written(failure)}") from failure


def copy(source: Path, target: Path) -> None:
    """Copy a file, whole or not at all. Raises OSError."""
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)


def append(descriptor: int, content: bytes) -> None:
    """Add ``content`` to the end of an open file, whole or not at all. Raises OSError."""
    size = os.fstat(descriptor).st_size
    if os.write(descriptor, content) < len(content):
        os.ftruncate(descriptor, size)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Attempts:
    """Writing that may fail: ``tell`` is called with a sentence, once until an attempt succeeds.

    ``then`` ends the sentence: what the failure means.
    """

    def __init__(self, tell: Callable[[str], None], then: str) -> None:
        self._tell, self._then = tell, then
        self._failed = False

    def do(self, path: Path, write: Callable[[], None]) -> bool:
        """Call ``write``, which writes to ``path``; returns whether it succeeded."""
        try:
            write()
        except OSError as error:
            if not self._failed:
                self._failed = True
                self._tell(f"cannot write {path}: {why_not_written(error)}; {self._then}")
            return False
        self._failed = False
        return True


def flush_to_disk(path: Path) -> None:
    """Wait until the file or directory ``path`` is on the disk; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def require_space(path: str | os.PathLike[str], size: int) -> None:
    """Raise OSError (no space left) unless the disk of ``path`` has room for ``size`` bytes more."""
    directory = Path(os.path.realpath(path)).parent
    directory.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(directory).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def why_not_written(error: OSError) -> str:
    """Return in a few words why a file could not be written."""
    reason = (error.strerror or str(error) or type(error).__name__).lower()
    return f"the disk is full ({reason})" if error.errno in FULL else reason
