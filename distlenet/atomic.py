"""Atomic writes: a file is replaced or appended to as a whole; no reader ever sees half of it."""

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
    """Yield a temporary path next to ``path``; rename it to ``path`` if the body succeeds.

    The body creates and closes the temporary file. The file is then flushed to disk and renamed, and its
    directory is flushed, so that a power cut leaves the old file or the new one. If the body raises (full disk,
    Ctrl-C), the temporary file is removed and ``path`` is unchanged. The temporary name is unique: if two
    processes write the same file, the last to finish wins.

    A symbolic link at ``path`` is replaced. With ``follow_links`` it is kept, and the file it points to is
    replaced, perhaps on another disk. Raises OSError if ``path`` is anything but a file or link, such as a
    directory, a pipe or /dev/null: it would be lost.
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
    with suppress(OSError):  # some file systems refuse to flush a directory; the rename still happened
        flush_to_disk(target.parent)


def write(
    path: str | os.PathLike[str], content: str | bytes, error: type[DistlenetError], follow_links: bool = False
) -> None:
    """Write ``content`` to ``path`` atomically; raises ``error``. For links, see ``replacing``."""
    try:
        with replacing(path, follow_links) as temporary:
            temporary.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as failure:
        raise error(f"cannot write {path}: {why_not_written(failure)}") from failure


def copy(source: Path, target: Path) -> None:
    """Copy a file atomically. Raises OSError."""
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)


def append(descriptor: int, content: bytes) -> None:
    """Append all of ``content`` to an open file, or nothing. Raises OSError."""
    size = os.fstat(descriptor).st_size
    if os.write(descriptor, content) < len(content):
        os.ftruncate(descriptor, size)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Attempts:
    """Writes that may fail: the first failure after a success is reported by calling ``tell`` with a sentence.

    ``then`` ends the sentence; it gives the consequence of the failure.
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
    """Return the reason why a file could not be written, in a few words."""
    reason = (error.strerror or str(error) or type(error).__name__).lower()
    return f"the disk is full ({reason})" if error.errno in FULL else reason
