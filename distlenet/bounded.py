"""Open and read untrusted files safely: regular files only, of bounded size and nesting.

A named pipe would block forever, a device would never end, a line of a gigabyte would fill the memory, and a thousand
brackets would exhaust Python's stack. All outside bytes, text, JSON and TOML are read here. In a directory that others
can write to, a symbolic or hard link could redirect a write to a file elsewhere. Files that a run appends to are
therefore opened here; all others are replaced as a whole.
"""

import errno
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MIB = 2**20
DEEPEST = 100  # brackets within brackets
MOST_BRACKETS = 1_000_000  # in a JSON file: an empty object of two bytes takes a hundred times that in memory
LONGEST_LINE = MIB  # bytes of a line of JSON
MOST_LINES = 1_200_000  # of a journal: enough for over 50 million steps at the usual 50 steps a line
MOST_BYTES = 256 * MIB  # of these lines
LONGEST_TOML = 2000  # characters of a line
KINDS = {
    stat.S_IFLNK: "a link",
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFREG: "a file",
}


def kind(path: str | os.PathLike[str], follow_links: bool = False) -> str | None:
    """Return the kind of ``path``: "a file", "a link" ...; None if missing. Raises OSError."""
    try:
        return KINDS.get(stat.S_IFMT(os.stat(path, follow_symlinks=follow_links).st_mode), "something unknown")
    except (FileNotFoundError, NotADirectoryError):
        return None


def is_real_directory(path: Path) -> bool:
    """Whether ``path`` is a directory and not a link to one."""
    return kind(path) == "a directory"


def open_regular(path: str | os.PathLike[str], flags: int = os.O_RDONLY, follow_links: bool = False) -> int:
    """Return a descriptor of the file ``path``, as ``os.open`` does; permissions follow the umask.

    Never blocks. Raises OSError if ``path`` is a pipe, a device, a directory, or a link that is not followed; or if it
    is to be written and has a second hard link.
    """
    flags |= os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow_links else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR) and (found := kind(path)):
            raise OSError(errno.EINVAL, f"it is {found}, expected a file", str(path)) from error
        raise
    status = os.fstat(descriptor)
    fault = None
    if not stat.S_ISREG(status.st_mode):
        fault = f"it is {KINDS.get(stat.S_IFMT(status.st_mode), 'something unknown')}, expected a file"
    elif flags & (os.O_WRONLY | os.O_RDWR) and status.st_nlink > 1:
        fault = "it has another hard link, which would change with it"
    if fault:
        os.close(descriptor)
        raise OSError(errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.EINVAL, fault, str(path))
    return descriptor


def head(path: str | os.PathLike[str], size: int = 2**16) -> bytes | None:
    """Return the first ``size`` bytes of a regular file; None if it is missing, a link, or unreadable."""
    try:
        with open(open_regular(path), "rb") as file:
            return file.read(size)
    except OSError:
        return None


def read_bytes(path: str | os.PathLike[str], most: int) -> bytes:
    """Return the content of the regular file ``path``; raises OSError if it is not one or exceeds ``most`` bytes."""
    with open(open_regular(path, follow_links=True), "rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EINVAL, f"it has more than {most:,} bytes, expected at most that", str(path))
    return content


def read_text(path: str | os.PathLike[str], most: int) -> str:
    """Return the text of ``path``, without its byte order mark; raises OSError, or ValueError if it is not UTF-8."""
    content = read_bytes(path, most)
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError("it is UTF-16, expected UTF-8: save it as UTF-8")
    if b"\0" in content:
        raise ValueError("it has NUL bytes, expected text: save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8: save it as UTF-8") from error


def read_json(path: str | os.PathLike[str], most: int = 16 * MIB) -> Any:
    """Return the value in the JSON file ``path``; raises OSError, ValueError."""
    return parse_json(read_text(path, most))


def parse_json(text: str | bytes) -> Any:
    """Return the value of the JSON ``text``; raises ValueError, also if it is nested deeper than DEEPEST."""
    try:
        brackets = sum(map(text.count, "[{")) if isinstance(text, str) else sum(map(text.count, (b"[", b"{")))
        if brackets > MOST_BRACKETS:
            raise ValueError(f"it has {brackets:,} lists and objects, expected at most {MOST_BRACKETS:,}")
        value = json.loads(text)
        return value if brackets <= DEEPEST else _shallow(value)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def parse_toml(text: str) -> dict[str, Any]:
    """Return the table of the TOML ``text``; raises ValueError, also if it is nested deeper than DEEPEST."""
    import tomllib

    for number, line in enumerate(text.split("\n"), 1):  # parsing a key takes time quadratic in its dots
        if len(line) > LONGEST_TOML:
            raise ValueError(f"line {number} has {len(line):,} characters, expected at most {LONGEST_TOML:,}")
    try:
        return _shallow(tomllib.loads(text))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def lines(
    path: str | os.PathLike[str], longest: int = LONGEST_LINE, most: int | None = MOST_LINES
) -> Iterator[str | None]:
    """Yield the lines of ``path``, or None for a line longer than ``longest`` bytes. Raises OSError.

    Raises it too if the file has more than ``most`` lines or MOST_BYTES; with ``most`` None there is no such limit.
    """
    count = 0
    with open(open_regular(path, follow_links=True), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if most is not None and size > MOST_BYTES:
            raise too_long(path, f"{MOST_BYTES:,} bytes")
        while line := file.readline(longest + 1):
            count += 1
            if most is not None and count > most:
                raise too_long(path, f"{most:,} lines")
            if len(line) <= longest or line.endswith(b"\n"):
                yield line.decode("utf-8", errors="replace").rstrip("\r\n")
                continue
            while line and not line.endswith(b"\n"):
                line = file.readline(longest)
            yield None


def too_long(path: str | os.PathLike[str], most: str) -> OSError:
    """Return the error for a file that exceeds ``most``, for example "1,000 lines"."""
    return OSError(errno.EFBIG, f"it has more than {most}", str(path))


def _shallow(value: Any) -> Any:
    """Return ``value``; raises ValueError if it is nested deeper than DEEPEST."""
    level = [value]
    for _ in range(DEEPEST):
        containers = (item.values() if isinstance(item, dict) else item for item in level if type(item) in (dict, list))
        level = [child for children in containers for child in children]
        if not level:
            return value
    raise ValueError("it is nested too deeply")
