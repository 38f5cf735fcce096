"""Files of unknown origin, plain or gzip, as a stream of bytes that takes no more than a sound file would.

A few bytes of gzip can stand for a thousand times as many, and a file for more memory than the machine has. What
images pack to is known: see RATIO. So a stream ends in an error as soon as it has become larger than that.
"""

import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from distlenet.bounded import kind
from distlenet.data.file.kind import GZIP
from distlenet.errors import DataError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

PLENTY = 2**29  # bytes that anything may unpack to
RATIO = 100  # times its packed size that anything may unpack to; smooth strokes of 28 x 28 pixels: 3, of 512 x 512: 42
PIECE = 2**16
ADVICE = "if you trust it, unpack it and name the unpacked file"


def most_unpacked(packed: int, plenty: int = PLENTY) -> int:
    """Return how many bytes ``packed`` bytes may unpack to, where ``plenty`` are no matter."""
    return max(plenty, RATIO * packed)


@contextmanager
def readable(path: Path, expected: str) -> Iterator[None]:
    """Turn what the system raises while ``path``, which is to be ``expected``, is read into a DataError."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path}, expected {expected}") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


def open_unpacked(path: Path, plenty: int = PLENTY) -> io.BufferedReader:
    """Open ``path`` for reading, and unpack what it gives if that is gzip (its first bytes say so, not its name).

    Raises FileNotFoundError, another OSError, or DataError where it is no regular file. Reading raises DataError where
    the gzip is damaged, cut off, or unpacks to more than ``most_unpacked``.
    """
    check_regular(path)
    file = path.open("rb")
    if file.peek(2)[:2] != GZIP:
        return file
    return io.BufferedReader(Gunzip(file, path, plenty), PIECE)


def check_unpacked(path: Path, plenty: int = PLENTY) -> None:
    """Raise DataError if ``path`` is gzip that is damaged or unpacks to too much; keeps nothing of it."""
    with open_unpacked(path, plenty) as file:
        if isinstance(file.raw, Gunzip):
            while file.read(16 * PIECE):
                pass


def check_regular(path: Path) -> None:
    """Raise DataError unless ``path`` is a file or a directory: a pipe would be waited for, a device never ends."""
    if (found := kind(path, follow_links=True)) not in ("a file", "a directory", None):
        raise DataError(f"{path} is {found}, expected a file: save what it gives in one")


class Gunzip(io.RawIOBase):
    """The bytes inside a gzip file, which may be several packed one after the other."""

    def __init__(self, file: BinaryIO, path: Path, plenty: int) -> None:
        self.file, self.path, self.plenty = file, path, plenty
        self.inflate = zlib.decompressobj(wbits=31)
        self.packed = b""  # read and not yet unpacked
        self.taken = self.given = 0  # bytes so far, packed and unpacked
        self.members = 1
        self.fresh = True  # between two members

    def readable(self) -> bool:
        """Tell io.BufferedReader that this can be read."""
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Fill ``buffer`` or a part of it; returns 0 at the end of the file."""
        view = memoryview(buffer).cast("B")
        if not view:
            return 0
        try:
            data = self._next(len(view))
        except zlib.error as error:
            raise DataError(f"{self.path} is damaged: {str(error).rpartition(': ')[2]}; get the file again") from error
        self.given += len(data)
        if self.given > most_unpacked(self.taken, self.plenty):
            raise DataError(f"{self.path} unpacks to more than {RATIO} times its size, which no images do; {ADVICE}")
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the file underneath as well."""
        self.file.close()
        super().close()

    def _next(self, most: int) -> bytes:
        """Return at least one byte, unless the file ends here as a gzip file may."""
        while True:
            if self.inflate.eof:
                self.packed = self.inflate.unused_data
                self.inflate = zlib.decompressobj(wbits=31)
                self.members, self.fresh = self.members + 1, True
                if self.members > 1000 + self.given // 1000:
                    raise DataError(f"{self.path} is packed in too many pieces of nothing: get the file again")
            if self.fresh:
                self.packed = self.packed.lstrip(b"\0") if self.given or self.members > 1 else self.packed
            if not self.packed:
                self.packed = self.file.read(PIECE)
                self.taken += len(self.packed)
                if not self.packed and self.fresh:
                    return b""
                if not self.packed:
                    raise DataError(f"{self.path} is cut off: the gzip data ends too early; get the file again")
                continue
            self.fresh = False
            data = self.inflate.decompress(self.packed, most)
            self.packed = self.inflate.unconsumed_tail
            if data:
                return data
