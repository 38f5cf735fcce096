"""Opens untrusted files, plain or gzip, as a stream of bytes of bounded length.

A few bytes of gzip can unpack to a thousand times as many, and so exceed the machine's memory. How well images compress
is known (see RATIO), so a stream raises an error as soon as it becomes larger than that.
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

PLENTY = 2**29  # bytes to which any file may unpack
RATIO = 100  # a larger result may have this many times the packed size; strokes of 28 x 28 pixels: 3, of 512 x 512: 42
PIECE = 2**16
ADVICE = "if you trust it, unpack it and name the unpacked file"


def most_unpacked(packed: int, plenty: int = PLENTY) -> int:
    """Return the most bytes to which ``packed`` bytes may unpack; ``plenty`` bytes are always allowed."""
    return max(plenty, RATIO * packed)


@contextmanager
def readable(path: Path, expected: str) -> Iterator[None]:
    """Turn the system's errors in reading ``path`` into a DataError; ``expected`` describes the file: "an IDX file"."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path}, expected {expected}") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


def open_unpacked(path: Path, plenty: int = PLENTY) -> io.BufferedReader:
    """Open ``path`` for reading; gzip, recognised by its first bytes and not by its name, is unpacked.

    Raises FileNotFoundError, another OSError, or DataError if it is not a regular file. Reading raises DataError if the
    gzip data are damaged, cut off, or unpack to more than ``most_unpacked``.
    """
    check_regular(path)
    file = path.open("rb")
    if file.peek(2)[:2] != GZIP:
        return file
    return io.BufferedReader(Gunzip(file, path, plenty), PIECE)


def check_unpacked(path: Path, plenty: int = PLENTY) -> None:
    """Raise DataError if ``path`` is gzip that is damaged or unpacks to too much; the content is not kept."""
    with open_unpacked(path, plenty) as file:
        if isinstance(file.raw, Gunzip):
            while file.read(16 * PIECE):
                pass


def check_regular(path: Path) -> None:
    """Raise DataError unless ``path`` is a file or a directory: a pipe would block, a device never ends."""
    if (found := kind(path, follow_links=True)) not in ("a file", "a directory", None):
        raise DataError(f"{path} is {found}, expected a file: save its output to a file")


class Gunzip(io.RawIOBase):
    """The unpacked bytes of a gzip file, which may consist of several members."""

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
        """Fill ``buffer`` or part of it; returns the number of bytes, 0 at the end of the file."""
        view = memoryview(buffer).cast("B")
        if not view:
            return 0
        try:
            data = self._next(len(view))
        except zlib.error as error:
            raise DataError(f"{self.path} is damaged: {str(error).rpartition(': ')[2]}; get the file again") from error
        self.given += len(data)
        if self.given > most_unpacked(self.taken, self.plenty):
            raise DataError(f"{self.path} unpacks to more than {RATIO} times its size, too much for images; {ADVICE}")
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the file underneath as well."""
        self.file.close()
        super().close()

    def _next(self, most: int) -> bytes:
        """Return at least one byte, or none at the regular end of the gzip file."""
        while True:
            if self.inflate.eof:
                self.packed = self.inflate.unused_data
                self.inflate = zlib.decompressobj(wbits=31)
                self.members, self.fresh = self.members + 1, True
                if self.members > 1000 + self.given // 1000:
                    raise DataError(f"{self.path} consists of too many empty gzip members: get the file again")
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
