"""Open files in a directory that others may have prepared: regular files only, and no links.

A link would lead the writer to a file elsewhere, and so would a second name (a hard link) of such a file; a pipe
blocks forever. Everything a run appends to in its directory is opened here; everything else is replaced as a whole.
"""

import errno
import os
import stat
from pathlib import Path

KINDS = {
    stat.S_IFLNK: "a link",
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFREG: "a file",
}


def kind(path: str | os.PathLike[str]) -> str | None:
    """Return what is at ``path`` itself, "a file", "a link" ...; None if nothing is. Raises OSError."""
    try:
        return KINDS.get(stat.S_IFMT(os.lstat(path).st_mode), "something unknown")
    except (FileNotFoundError, NotADirectoryError):
        return None


def open_regular(path: str | os.PathLike[str], flags: int = os.O_RDONLY) -> int:
    """Return a descriptor of the file ``path``, as ``os.open`` does; permissions follow the umask.

    Raises OSError where it is a link, a pipe, a device or a directory, or is to be written to and has another name.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR) and (found := kind(path)):
            raise OSError(errno.EINVAL, f"it is {found}, expected a file", str(path)) from error
        raise
    status = os.fstat(descriptor)
    fault = None
    if not stat.S_ISREG(status.st_mode):
        fault = f"it is {KINDS.get(stat.S_IFMT(status.st_mode), 'something unknown')}, expected a file"
    elif flags & (os.O_WRONLY | os.O_RDWR) and status.st_nlink > 1:
        fault = "it has a second name (a hard link) elsewhere, which would change with it"
    if fault:
        os.close(descriptor)
        raise OSError(errno.EINVAL, fault, str(path))
    return descriptor


def head(path: str | os.PathLike[str], size: int = 2**16) -> bytes | None:
    """Return the first ``size`` bytes of a regular file, no link; None where there is none, or it cannot be read."""
    try:
        descriptor = open_regular(path)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        try:
            return file.read(size)
        except OSError:
            return None


def is_real_directory(path: Path) -> bool:
    """Whether ``path`` is a directory, and no link to one."""
    return kind(path) == "a directory"
